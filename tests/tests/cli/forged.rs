//! `ca-cli verify` on certificates of a CA that signs anything: what remains is what the certificate itself gives away.

use attest::rot;
use der::oid::ObjectIdentifier;
use device_kit::der::{context, extension, generalized_time, name, octets, oid, sequence, tlv, utc_time, utf8};
use device_kit::keys::ec;
use device_kit::soft_tpm::SoftTpm;
use device_kit::vendor::{Content, VendorCa, random_serial};
use openssl::nid::Nid;

use crate::kit::{Folder, Said, cli_alone};
use crate::verify::{found, refused};

const ANY_POLICY: &str = "2.5.29.32.0";
/// Nobody knows it.
const STRANGE: &str = "1.2.3.4";

fn dotted<const N: usize>(oids: [ObjectIdentifier; N]) -> Vec<String> {
    oids.map(|o| o.to_string()).into()
}

/// An EK certificate and the digest of its key.
struct Ek {
    certificate: Vec<u8>,
    sha256: Vec<u8>,
}

impl Ek {
    fn new() -> Self {
        let tpm = SoftTpm::p256(&VendorCa::root("Kit"));
        Self {
            sha256: tpm.ek.sha256().to_vec(),
            certificate: tpm.ek_certificate,
        }
    }
}

/// What a certificate claims.
#[derive(Clone)]
struct Forged {
    policies: Vec<String>,
    version: u8,
    kind: u8,
    ek: Vec<u8>,
    ak: Vec<u8>,
    ik: Vec<u8>,
    evidence: Vec<u8>,
    parent: Option<Vec<u8>>,
    /// Bytes after the RoT-binding.
    trailing: Vec<u8>,
    bound: bool,
    subject: Vec<u8>,
    /// Unused bits, and the bits.
    key_usage: [u8; 2],
    /// Digest in the permanentIdentifier.
    ek_certificate: Option<Vec<u8>>,
    ca_policies: Vec<String>,
    /// Further extensions, DER.
    more: Vec<Vec<u8>>,
}

impl Forged {
    /// An identity key's, with nothing wrong.
    fn honest(ek: &Ek) -> Self {
        let tpm_name = |fill: u8| [&[0x00, 0x0b][..], &[fill; 32]].concat();
        Self {
            policies: dotted([
                rot::TCG_VERIFIED_TPM_RESIDENCY,
                rot::TCG_VERIFIED_TPM_FIXED,
                rot::ID_HARDWARE_VERIFIED,
            ]),
            version: 1,
            kind: 0,
            ek: ek.sha256.clone(),
            ak: tpm_name(1),
            ik: tpm_name(2),
            evidence: vec![3; 32],
            parent: None,
            trailing: Vec::new(),
            bound: true,
            subject: name(&[]),
            // digitalSignature.
            key_usage: [7, 0x80],
            ek_certificate: Some(openssl::sha::sha256(&ek.certificate).to_vec()),
            ca_policies: vec![ANY_POLICY.into()],
            more: Vec::new(),
        }
    }

    fn policies(oids: &[String]) -> Option<Vec<u8>> {
        let each: Vec<u8> = oids.iter().flat_map(|o| sequence(&[&oid(o)])).collect();
        (!oids.is_empty()).then(|| extension("2.5.29.32", false, &tlv(0x30, &each)))
    }

    fn names(&self) -> Vec<u8> {
        let mut names = tlv(0x82, b"device.example");
        if let Some(digest) = &self.ek_certificate {
            let assigner = oid(&rot::TCG_ON_EK_PERM_ID_SHA256.to_string());
            let identifier = sequence(&[&utf8(&hex::encode(digest)), &assigner]);
            let kind = oid(&rot::ID_ON_PERMANENT_IDENTIFIER.to_string());
            names.extend(context(0, &[kind, context(0, &identifier)].concat()));
        }
        extension("2.5.29.17", true, &tlv(0x30, &names))
    }

    fn binding(&self) -> Vec<u8> {
        let parent = self.parent.as_ref().map(|p| tlv(0x80, p)).unwrap_or_default();
        let content = [
            tlv(0x02, &[self.version]),
            tlv(0x0a, &[self.kind]),
            octets(&self.ek),
            octets(&self.ak),
            octets(&self.ik),
            octets(&self.evidence),
            parent,
        ];
        let value = [tlv(0x30, &content.concat()), self.trailing.clone()].concat();
        extension(&rot::ID_ROT_BINDING.to_string(), false, &value)
    }

    /// Make root, issuing CA and leaf, and verify at the default level.
    fn verify(&self, more: &[&str]) -> Said {
        let root = VendorCa::root("Kit Root");
        let mut extensions = VendorCa::ca_extensions(Some(0));
        extensions.extend(Self::policies(&self.ca_policies));
        let issuing = root.below("Kit Issuing", &extensions);
        let mut extensions = vec![extension("2.5.29.15", true, &tlv(0x03, &self.key_usage)), self.names()];
        extensions.extend(Self::policies(&self.policies));
        if self.bound {
            extensions.push(self.binding());
        }
        extensions.extend(self.more.clone());
        extensions.push(issuing.authority());
        let leaf = issuing.certify(&Content {
            serial: random_serial(),
            subject: self.subject.clone(),
            not_before: utc_time("250101000000Z"),
            not_after: generalized_time("99991231235959Z"),
            spki: ec(Nid::X9_62_PRIME256V1).public_key_to_der().unwrap(),
            extensions,
        });
        let folder = Folder::new();
        let leaf = folder.put("leaf.der", &leaf);
        let root = folder.put("root.der", &root.certificate);
        let issuing = folder.put("issuing.der", &issuing.certificate);
        let arguments = ["verify", &leaf, "--trust", &root, "--untrusted", &issuing, "-o", "json"];
        cli_alone(&[&arguments[..], more].concat())
    }
}

/// Change one thing; what refuses then, and in which words.
#[track_caller]
fn forged(check: &str, words: &str, change: impl FnOnce(&mut Forged)) {
    let mut forged = Forged::honest(&Ek::new());
    change(&mut forged);
    let said = forged.verify(&[]);
    assert_eq!(refused(&said), [check], "{said:?}");
    let found = found(&said, check);
    assert!(found.contains(words), "{found}");
}

#[test]
fn the_forger_is_honest_but_for_one_thing() {
    let ek = Ek::new();
    let honest = Forged::honest(&ek);
    assert_eq!(refused(&honest.verify(&[])), [""; 0]);
    let folder = Folder::new();
    let file = folder.put("ek.der", &ek.certificate);
    assert_eq!(refused(&honest.verify(&["--ek-certificate", &file])), [""; 0]);
    let attestation = Forged {
        ik: honest.ak.clone(),
        policies: dotted([
            rot::TCG_VERIFIED_TPM_RESIDENCY,
            rot::TCG_VERIFIED_TPM_RESTRICTED,
            rot::ID_HARDWARE_VERIFIED,
        ]),
        ..honest.clone()
    };
    assert_eq!(refused(&attestation.verify(&[])), [""; 0]);
    let hosted = Forged {
        kind: 1,
        parent: Some(vec![4; 32]),
        policies: dotted([
            rot::TCG_VERIFIED_TPM_RESIDENCY,
            rot::TCG_VERIFIED_TPM_FIXED,
            rot::ID_VIRTUAL,
        ]),
        ..honest
    };
    assert_eq!(refused(&hosted.verify(&["--level", "virtual"])), [""; 0]);
}

#[test]
fn the_binding_must_be_there_and_agree_with_itself() {
    forged("binding", "no RoT-binding", |f| f.bound = false);
    // A version that nobody knows cannot be read, and then nothing is bound. The second has another form.
    for version in [2, 3] {
        let mut forged = Forged::honest(&Ek::new());
        forged.version = version;
        let said = forged.verify(&[]);
        assert_eq!(refused(&said), ["encoding", "binding"], "{said:?}");
        assert!(found(&said, "encoding").contains("INTEGER"), "{said:?}");
    }
    forged("binding", "digest", |f| f.ek.truncate(31));
    forged("binding", "digest", |f| f.evidence.push(0));
    forged("binding", "Name", |f| f.ak[1] = 0x04);
    forged("binding", "Name", |f| f.ik.truncate(33));
    forged("binding", "Name", |f| f.ik[1] = 0x0c);
    forged("binding", "kind dice", |f| f.kind = 2);
    forged("binding", "kind vtpm", |f| f.kind = 1);
    forged("binding", "host", |f| f.parent = Some(vec![4; 32]));
}

#[test]
fn policies_and_names_must_agree() {
    let drop = |f: &mut Forged, i: usize| drop(f.policies.remove(i));
    forged("binding", "verifiedTPMResidency", |f| drop(f, 0));
    forged("binding", "disagree", |f| drop(f, 1));
    forged("binding", "disagree", |f| f.ik = f.ak.clone());
    forged("binding", "disagree", |f| {
        f.policies.push(rot::TCG_VERIFIED_TPM_RESTRICTED.to_string());
    });
}

#[test]
fn an_extension_that_cannot_be_read_is_bad_encoding() {
    let mut forged = Forged::honest(&Ek::new());
    forged.trailing = vec![5, 0];
    let said = forged.verify(&["--level", "none"]);
    assert_eq!(refused(&said), ["encoding"], "{said:?}");
    assert!(found(&said, "encoding").contains("27071.1.1"), "{said:?}");
}

#[test]
fn a_level_is_one_claim_and_every_ca_must_allow_it() {
    forged("level", "no single", |f| f.policies.push(rot::ID_SOFTWARE.to_string()));
    forged("level", "no single", |f| drop(f.policies.pop()));
    forged("level", "software, asked", |f| {
        f.policies[2] = rot::ID_SOFTWARE.to_string();
    });
    forged("level", "Kit Issuing may not", |f| {
        f.ca_policies = vec![rot::ID_SOFTWARE.to_string()];
    });
    forged("level", "Kit Issuing may not", |f| f.ca_policies.clear());
    let mut named = Forged::honest(&Ek::new());
    named.ca_policies = named.policies.clone();
    assert_eq!(refused(&named.verify(&[])), [""; 0], "by name, without anyPolicy");
}

#[test]
fn a_binding_to_another_ek_shows_beside_the_ek_certificate() {
    let folder = Folder::new();
    let ek = Ek::new();
    let file = folder.put("ek.der", &ek.certificate);
    let mut forged = Forged::honest(&ek);
    forged.ek = vec![9; 32];
    assert_eq!(refused(&forged.verify(&[])), [""; 0], "nothing else can tell");
    let said = forged.verify(&["--ek-certificate", &file]);
    assert_eq!(refused(&said), ["ek"]);
    assert!(found(&said, "ek").contains("its RoT-binding names EK 0909"), "{said:?}");
    let mut forged = Forged::honest(&ek);
    forged.ek_certificate = None;
    let said = forged.verify(&["--ek-certificate", &file]);
    assert_eq!(refused(&said), ["ek"]);
    assert_eq!(found(&said, "ek"), "names no EK certificate");
}

#[test]
fn a_critical_extension_nobody_knows_refuses() {
    forged("chain", "critical", |f| f.more.push(extension(STRANGE, true, &[5, 0])));
    let mut known = Forged::honest(&Ek::new());
    known.more.push(extension(STRANGE, false, &[5, 0]));
    assert_eq!(refused(&known.verify(&[])), [""; 0]);
}

#[test]
fn a_leaf_that_may_sign_crls_is_no_leaf() {
    // digitalSignature and cRLSign: OpenSSL asks for a subject then, and nothing more.
    let change = |f: &mut Forged| (f.key_usage, f.subject) = ([1, 0x82], name(&[("2.5.4.3", "a device")]));
    forged("end-entity", "may sign", change);
}
