import java.io.*;
import java.net.*;
import java.nio.file.*;
import java.security.cert.*;
import java.util.*;

/** Folder, then names of leaves: validates each alone, by CRL and by OCSP, and prints NAME HOW VERDICT. */
class Judge {
    static X509Certificate read(Path file) throws Exception {
        try (InputStream in = Files.newInputStream(file)) {
            return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(in);
        }
    }

    static String verdict(CertPath path, X509Certificate root, String how) throws Exception {
        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
        parameters.setRevocationEnabled(false);
        if (!how.equals("path")) {
            PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
            EnumSet<PKIXRevocationChecker.Option> options = EnumSet.of(
                PKIXRevocationChecker.Option.NO_FALLBACK, PKIXRevocationChecker.Option.ONLY_END_ENTITY);
            if (how.equals("CRL")) options.add(PKIXRevocationChecker.Option.PREFER_CRLS);
            checker.setOptions(options);
            parameters.addCertPathChecker(checker);
        }
        try {
            validator.validate(path, parameters);
            return "ok";
        } catch (CertPathValidatorException e) {
            return e.getReason() == CertPathValidatorException.BasicReason.REVOKED ? "revoked" : e.getMessage();
        }
    }

    public static void main(String[] a) throws Exception {
        Path folder = Path.of(a[0]);
        X509Certificate root = read(folder.resolve("root.pem")), issuing = read(folder.resolve("issuing.pem"));
        for (String name : Arrays.copyOfRange(a, 1, a.length)) {
            CertPath path = CertificateFactory.getInstance("X.509")
                .generateCertPath(List.of(read(folder.resolve(name + ".pem")), issuing));
            for (String how : List.of("path", "CRL", "OCSP"))
                System.out.println(name + " " + how + " " + verdict(path, root, how));
        }
    }
}
