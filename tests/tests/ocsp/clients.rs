//! The clients of others: OpenSSL, GnuTLS, Java, Go. One that is not installed is named and left out, never in CI.

use std::process::Command;

use device_kit::others::{go_program, prints, there};
use device_kit::rig::{Rig, Wanted};

use crate::kit::{Leaf, answering, status};

/// A good certificate, a revoked one and one on hold.
struct Case {
    rig: Rig,
    url: String,
    good: Leaf,
    revoked: Leaf,
    held: Leaf,
}

fn case() -> Case {
    let rig = Rig::with(&answering(Wanted::default()));
    let [good, revoked, held] = ["good", "revoked", "held"].map(|name| Leaf::of(&rig, name));
    let _ = rig.cli_json(&["revoke", &revoked.hex, "--reason", "keyCompromise"]);
    let _ = rig.cli_json(&["hold", &held.hex]);
    let url = format!("http://{}/ocsp", status(rig.server()));
    Case {
        rig,
        url,
        good,
        revoked,
        held,
    }
}

#[test]
fn openssl_by_post_and_by_get() {
    let case = case();
    let (root, issuing) = (case.rig.path("ca/root.pem"), case.rig.path("ca/issuing.pem"));
    let openssl = |leaf: &Leaf, more: &[&str]| {
        let mut command = Command::new("openssl");
        command.arg("ocsp").args(more).arg("-issuer").arg(&issuing);
        command.arg("-cert").arg(leaf.pem(&case.rig)).arg("-CAfile").arg(&root);
        command.arg("-verify_other").arg(&issuing);
        command
    };
    for more in [
        &["-sha1"][..],
        &["-sha256"],
        &["-sha256", "-no_nonce"],
        &["-sha1", "-no_nonce"],
    ] {
        for (leaf, words) in [
            (&case.good, &[": good"][..]),
            (&case.revoked, &[": revoked", "Reason: keyCompromise"]),
            (&case.held, &[": revoked", "Reason: certificateHold"]),
        ] {
            let text = prints(openssl(leaf, more).args(["-url", &case.url]));
            assert!(text.contains("Response verify OK"), "{more:?}: {text}");
            assert!(!text.contains("WARNING"), "{more:?}: the nonce is repeated: {text}");
            assert!(words.iter().all(|word| text.contains(word)), "{more:?}: {text}");
        }
    }
    // GET, which OpenSSL's program does not have: with curl, of its own request, and judged by it.
    if !there("curl") {
        return;
    }
    let (asked, told) = (case.rig.path("req.der"), case.rig.path("resp.der"));
    let text = prints(openssl(&case.good, &["-no_nonce"]).arg("-reqout").arg(&asked));
    assert!(asked.is_file(), "{text}");
    let base64 = openssl::base64::encode_block(&std::fs::read(&asked).unwrap());
    let encoded = base64.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    for path in [&base64, &encoded] {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail", "-o"])
            .arg(&told)
            .arg(format!("{}/{path}", case.url));
        assert_eq!(prints(&mut curl), "");
        let text = prints(openssl(&case.good, &["-no_nonce"]).arg("-respin").arg(&told));
        assert!(text.contains("Response verify OK") && text.contains(": good"), "{text}");
    }
}

#[test]
fn gnutls() {
    if !there("ocsptool") {
        return;
    }
    let case = case();
    let issuing = case.rig.path("ca/issuing.pem");
    for (leaf, words) in [
        (&case.good, &["Certificate Status: good"][..]),
        (&case.revoked, &["Certificate Status: revoked", "Revocation time"]),
        (&case.held, &["Certificate Status: revoked", "Revocation time"]),
    ] {
        for nonce in [&["--nonce"][..], &[]] {
            let told = case.rig.path("told.der");
            let mut command = Command::new("ocsptool");
            command.arg(format!("--ask={}", case.url)).args(nonce);
            command
                .arg("--load-issuer")
                .arg(&issuing)
                .arg("--load-cert")
                .arg(leaf.pem(&case.rig));
            let text = prints(command.arg("--outder").arg("--outfile").arg(&told));
            let mut command = Command::new("ocsptool");
            command.args(["--verify-response", "--inder", "--infile"]).arg(&told);
            let judged = prints(command.arg("--load-trust").arg(&issuing));
            assert!(judged.contains("Verifying OCSP Response: Success"), "{text}\n{judged}");
            let mut command = Command::new("ocsptool");
            let shown = prints(command.args(["--response-info", "--inder", "--infile"]).arg(&told));
            assert!(words.iter().all(|word| shown.contains(word)), "{shown}");
        }
    }
}

const JAVA: &str = r#"
import java.io.*; import java.net.*; import java.security.cert.*; import java.util.*;
class V {
    static X509Certificate read(String f) throws Exception {
        try (InputStream in = new FileInputStream(f)) {
            return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(in);
        }
    }
    public static void main(String[] a) throws Exception {
        CertPath path = CertificateFactory.getInstance("X.509").generateCertPath(List.of(read(a[2]), read(a[1])));
        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        checker.setOcspResponder(new URI(a[3]));
        checker.setOptions(EnumSet.of(PKIXRevocationChecker.Option.NO_FALLBACK, PKIXRevocationChecker.Option.ONLY_END_ENTITY));
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(read(a[0]), null)));
        parameters.addCertPathChecker(checker);
        try { validator.validate(path, parameters); System.out.println("OK"); }
        catch (CertPathValidatorException e) {
            Throwable c = e.getCause();
            System.out.println(e.getReason() + " " + (c instanceof CertificateRevokedException r ? r.getRevocationReason() : e.getMessage()));
        }
    }
}
"#;

#[test]
fn java() {
    if !there("javac") {
        return;
    }
    let case = case();
    let source = case.rig.path("V.java");
    std::fs::write(&source, JAVA).unwrap();
    for (leaf, words) in [
        (&case.good, "OK"),
        (&case.revoked, "REVOKED KEY_COMPROMISE"),
        (&case.held, "REVOKED CERTIFICATE_HOLD"),
    ] {
        let mut command = Command::new("java");
        command
            .arg(&source)
            .arg(case.rig.path("ca/root.pem"))
            .arg(case.rig.path("ca/issuing.pem"));
        let text = prints(command.arg(leaf.pem(&case.rig)).arg(&case.url));
        assert_eq!(text.trim(), words);
    }
}

const GO: &str = r#"
package main
import ("bytes"; "crypto/x509"; "encoding/pem"; "fmt"; "io"; "net/http"; "os"; "golang.org/x/crypto/ocsp")
func read(f string) *x509.Certificate {
    b, _ := os.ReadFile(f); p, _ := pem.Decode(b); c, e := x509.ParseCertificate(p.Bytes)
    if e != nil { panic(e) }
    return c
}
func main() {
    issuer, leaf := read(os.Args[1]), read(os.Args[2])
    q, _ := ocsp.CreateRequest(leaf, issuer, nil)
    r, e := http.Post(os.Args[3], "application/ocsp-request", bytes.NewReader(q))
    if e != nil { panic(e) }
    b, _ := io.ReadAll(r.Body)
    a, e := ocsp.ParseResponseForCert(b, leaf, issuer)
    if e != nil { panic(e) }
    fmt.Println(a.Status, a.RevocationReason)
}
"#;

#[test]
fn go() {
    if !there("go") {
        return;
    }
    let case = case();
    let folder = case.rig.path("go");
    std::fs::create_dir_all(&folder).unwrap();
    let program = go_program(GO, &folder);
    for (leaf, words) in [(&case.good, "0 0"), (&case.revoked, "1 1"), (&case.held, "1 6")] {
        let mut command = Command::new(&program);
        command
            .arg(case.rig.path("ca/issuing.pem"))
            .arg(leaf.pem(&case.rig))
            .arg(&case.url);
        assert_eq!(prints(&mut command).trim(), words);
    }
}
