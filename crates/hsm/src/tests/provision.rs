//! Making tokens and keys, and looking at a module.

use issuance::SignatureAlgorithm as A;

use super::kit::{self, P256, generate, open, refusal, secret};
use crate::{KeySpec, Token, init_token, probe};

#[test]
fn an_id_or_a_label_that_exists_is_refused() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        generate(&token, 1, P256);
        let made = |label: &str, id: u8| {
            token.generate(&KeySpec {
                label: label.into(),
                id: vec![id],
                algorithm: P256,
            })
        };
        assert!(refusal(made("other", 1)).contains("CKA_ID 01 already"));
        assert!(refusal(made("key-1", 2)).contains("label `key-1` already"));
        assert!(refusal(made("", 2)).contains("needs a label"));
        made("other", 2).unwrap();
        let empty = token.generate(&KeySpec {
            label: "third".into(),
            id: vec![],
            algorithm: P256,
        });
        assert!(refusal(empty).contains("needs a label and a CKA_ID"));
    }]);
}

#[test]
fn what_was_made_is_told_for_the_transcript() {
    kit::stages(&[|home| {
        let token = open(home.token("ca"));
        let made = generate(&token, 1, A::EcdsaP384Sha384);
        assert_eq!(made.id, [1]);
        let told = |name: &str| {
            made.attributes
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, value)| value.as_str())
        };
        for name in [
            "CKA_SENSITIVE",
            "CKA_ALWAYS_SENSITIVE",
            "CKA_NEVER_EXTRACTABLE",
            "CKA_LOCAL",
            "CKA_SIGN",
        ] {
            assert_eq!(told(name), Some("true"), "{name}");
        }
        for name in [
            "CKA_EXTRACTABLE",
            "CKA_DECRYPT",
            "CKA_UNWRAP",
            "CKA_DERIVE",
            "CKA_MODIFIABLE",
            "CKA_COPYABLE",
        ] {
            assert_eq!(told(name), Some("false"), "{name}");
        }
        let key = openssl::pkey::PKey::public_key_from_der(&made.spki).unwrap();
        assert_eq!(
            key.ec_key().unwrap().group().curve_name(),
            Some(openssl::nid::Nid::SECP384R1)
        );
    }]);
}

#[test]
fn tokens_are_made_one_for_each_label() {
    kit::stages(&[|home| {
        let made = |label: &str, so: &str, pin: &str| init_token(&kit::softhsm(), label, &secret(so), &secret(pin));
        let serial = made("root", kit::SO_PIN, kit::PIN).unwrap();
        assert!(refusal(made("root", kit::SO_PIN, kit::PIN)).contains(&serial));
        let other = made("issuing", kit::SO_PIN, kit::PIN).unwrap();
        assert_ne!(serial, other);
        assert_eq!(open(home.config("root")).serial(), serial);
        assert!(refusal(made("", kit::SO_PIN, kit::PIN)).contains("1 to 32 bytes"));
        assert!(refusal(made(&"l".repeat(33), kit::SO_PIN, kit::PIN)).contains("1 to 32 bytes"));
        assert!(refusal(made("space ", kit::SO_PIN, kit::PIN)).contains("does not end with a space"));
        assert!(refusal(made("short", kit::SO_PIN, "12")).contains("the PIN must have 4 to 255 bytes"));
        assert!(refusal(made("short", "12", kit::PIN)).contains("security officer's PIN must have"));
        // Nothing was begun for the refused ones.
        let report = probe(&kit::softhsm()).unwrap();
        assert_eq!(report.slots.iter().filter(|slot| slot.token.is_some()).count(), 2);
    }]);
}

#[test]
fn the_token_is_chosen_by_every_part_of_the_uri() {
    kit::stages(&[|home| {
        drop((home.token("one"), home.token("two")));
        let config = |selection: &str| {
            let mut config = home.config("one");
            let uri = format!("pkcs11:{selection}?module-path={}", kit::softhsm().display());
            config.uri = uri.parse().unwrap();
            Token::open(config, secret(kit::PIN))
        };
        let serial = config("token=two").unwrap().serial().to_owned();
        assert_eq!(config(&format!("serial={serial}")).unwrap().serial(), serial);
        assert_eq!(
            config(&format!("token=two;serial={serial};model=SoftHSM%20v2"))
                .unwrap()
                .serial(),
            serial
        );
        assert!(refusal(config("token=three")).contains("`one` (serial"));
        assert!(refusal(config(&format!("token=one;serial={serial}"))).contains("no token fits"));
        assert!(refusal(config("token=two;model=Luna")).contains("no token fits"));
        assert!(refusal(config("token=two;manufacturer=Other")).contains("no token fits"));
        assert!(refusal(config("model=SoftHSM%20v2")).contains("more than one token fits"));
    }]);
}

#[test]
fn softhsm_can_do_all_six_algorithms() {
    kit::stages(&[|home| {
        drop(home.token("ca"));
        let report = probe(&kit::softhsm()).unwrap();
        assert!(report.library.contains("SoftHSM"), "{}", report.library);
        let token = report.slots.iter().find_map(|slot| slot.token.as_ref()).unwrap();
        assert_eq!((token.label.as_str(), token.pin_warning.as_deref()), ("ca", None));
        assert!(token.model.contains("SoftHSM v2"));
        assert_eq!(token.verdicts.len(), 6);
        assert!(
            token.verdicts.iter().all(|verdict| verdict.usable),
            "{:?}",
            token.verdicts
        );
        assert!(
            report.slots.iter().any(|slot| slot.token.is_none()),
            "the free slot is shown as empty"
        );
    }]);
}

#[test]
fn a_mechanism_that_is_switched_off_is_missing() {
    kit::stages(&[|home| {
        let conf = home.dir.join("softhsm2.conf");
        let mut text = std::fs::read_to_string(&conf).unwrap();
        // SoftHSM 2.6.1 overlooks the first name of the list.
        text.push_str("slots.mechanisms = -CKM_MD5,CKM_RSA_PKCS_PSS\n");
        std::fs::write(conf, text).unwrap();
        let token = open(home.token("ca"));
        let made = generate(&token, 1, A::Rsa3072Pkcs1Sha256);
        token.ca_key(&[1], &made.spki, A::Rsa3072Pkcs1Sha256).unwrap();
        let error = refusal(token.ca_key(&[1], &made.spki, A::Rsa3072PssSha256));
        assert!(error.contains("does not sign with CKM_RSA_PKCS_PSS"), "{error}");
        let report = probe(&kit::softhsm()).unwrap();
        let token = report.slots.iter().find_map(|slot| slot.token.as_ref()).unwrap();
        let missing: Vec<_> = token
            .verdicts
            .iter()
            .filter(|v| !v.usable)
            .map(|v| v.algorithm.as_str())
            .collect();
        assert_eq!(missing, ["RSA-3072 PSS SHA-256", "RSA-4096 PSS SHA-256"]);
        assert_eq!(token.verdicts[4].detail, "missing for 3072 bits: CKM_RSA_PKCS_PSS");
    }]);
}
