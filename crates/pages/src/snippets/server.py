import socket
import ssl
import sys

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain("server.pem", "server.key")
context.load_verify_locations("roots.pem")
context.load_verify_locations("crl.pem")  # load it again before its "next by"
context.verify_mode = ssl.CERT_REQUIRED
context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_CRL_CHECK_LEAF

with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    print("ready", flush=True)
    while True:
        raw, _ = listener.accept()
        try:
            with context.wrap_socket(raw, server_side=True) as device:
                print("accepted:", device.getpeercert()["subject"], flush=True)
                device.sendall(b"hello\n")
        except (ssl.SSLError, OSError) as why:
            print("refused:", why, flush=True)
