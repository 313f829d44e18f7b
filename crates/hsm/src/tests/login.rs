//! One C_Initialize, and as few C_Login as can be.

use std::path::PathBuf;
use std::time::Duration;

use super::kit::{self, Home, eventually, open, refusal, secret};
use crate::{HsmError, PinSource, PinWarning, Token, TokenConfig, probe};

#[test]
fn the_module_is_initialised_once_for_all_tokens() {
    kit::stages(&[|home| {
        drop((home.token("one"), home.token("two")));
        let one = open(home.spied("one"));
        let (two, again) = (open(home.spied("two")), open(home.spied("one")));
        probe(home.spied("one").uri.module_path.as_deref().unwrap()).unwrap();
        assert_eq!(home.calls("C_Initialize"), 1);
        assert_eq!(
            home.calls("C_Login"),
            2,
            "the second opening of one token found it logged in"
        );
        assert_eq!(
            (one.login_attempts(), two.login_attempts(), again.login_attempts()),
            (1, 1, 1)
        );
        drop(one);
        again.pool().lease().unwrap();
    }]);
}

#[test]
fn a_wrong_pin_is_tried_once() {
    kit::stages(&[|home| {
        drop(home.token("ca"));
        let config = home.spied("ca");
        let wrong = || Token::open(config.clone(), secret("00000000"));
        assert!(matches!(wrong(), Err(HsmError::Pin(text)) if text.contains("refused the PIN")));
        for _ in 0..5 {
            assert!(matches!(wrong(), Err(HsmError::Pin(_))));
            // Also told to go on: the same PIN has nothing new to say.
            let told = Token::open_despite(config.clone(), secret("00000000"), PinWarning::FinalTry);
            assert!(refusal(told).contains("refused this PIN before"));
        }
        assert_eq!(home.calls("C_Login"), 1);
        // SoftHSM now warns; a good PIN alone is not enough, a person's word is.
        assert!(refusal(Token::open(config.clone(), secret(kit::PIN))).contains("no PIN was tried"));
        assert_eq!(home.calls("C_Login"), 1);
        let token = Token::open_despite(config.clone(), secret(kit::PIN), PinWarning::CountLow).unwrap();
        assert_eq!(home.calls("C_Login"), 2);
        drop(token);
        // The good login took the warning away.
        drop(open(config));
        assert_eq!(home.calls("C_Login"), 3);
    }]);
}

#[test]
fn a_restarted_service_with_a_wrong_pin_does_not_try_again() {
    let start: kit::Stage = |home| {
        if !home.tokens().read_dir().unwrap().any(|_| true) {
            drop(home.token("ca"));
        }
        assert!(matches!(
            Token::open(home.spied("ca"), secret("00000000")),
            Err(HsmError::Pin(_))
        ));
        assert_eq!(home.calls("C_Login"), 1);
    };
    kit::stages(&[start, start, start]);
}

#[test]
fn after_a_failed_login_another_pin_waits_for_the_backoff() {
    kit::stages(&[|home| {
        drop(home.token("ca"));
        let config = TokenConfig {
            login_backoff: Duration::from_millis(300),
            ..home.spied("ca")
        };
        let despite = |pin: &str| Token::open_despite(config.clone(), secret(pin), PinWarning::FinalTry);
        assert!(despite("00000000").is_err());
        let error = refusal(despite(kit::PIN));
        assert!(error.contains("a login was tried a moment ago"), "{error}");
        assert_eq!(home.calls("C_Login"), 1);
        eventually(|| despite(kit::PIN));
        assert_eq!(home.calls("C_Login"), 2);
    }]);
}

/// The file in which SoftHSM keeps a token's own attributes.
fn token_object(home: &Home) -> PathBuf {
    let dir = std::fs::read_dir(home.tokens())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    dir.join("token.object")
}

/// Set flags of the token: its only attribute of type CKA_OS_TOKENFLAGS (vendor defined), a word.
fn flag(home: &Home, flags: u64) {
    let file = token_object(home);
    let mut bytes = std::fs::read(&file).unwrap();
    // CKA_VENDOR_DEFINED + "SH" + 4 in SoftHSM's OSAttributes.h; kind 2, a word.
    let mark = [[0, 0, 0, 0, 0x80, 0, 0x53, 0x48 + 3].as_slice(), &2_u64.to_be_bytes()].concat();
    let at = bytes.windows(16).position(|window| window == mark).unwrap() + 16;
    let value = u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    bytes[at..at + 8].copy_from_slice(&(value | flags).to_be_bytes());
    std::fs::write(file, bytes).unwrap();
}

const COUNT_LOW: u64 = 0x1_0000;
const FINAL_TRY: u64 = 0x2_0000;
const LOCKED: u64 = 0x4_0000;

fn warned(home: &Home, flags: u64, accepted: Option<PinWarning>, expected: Option<&str>) {
    flag(home, flags);
    let outcome = match accepted {
        None => Token::open(home.spied("ca"), secret(kit::PIN)),
        Some(accepted) => Token::open_despite(home.spied("ca"), secret(kit::PIN), accepted),
    };
    match (outcome, expected) {
        (Ok(_), None) => assert_eq!(home.calls("C_Login"), 1),
        (Err(HsmError::Pin(text)), Some(expected)) => {
            assert!(text.contains(expected) && text.contains("no PIN was tried"), "{text}");
            let fix = if flags & LOCKED == 0 {
                "log in once by hand"
            } else {
                "security officer"
            };
            assert!(text.contains(fix), "{text}");
            assert_eq!(home.calls("C_Login"), 0);
            let report = probe(&kit::softhsm()).unwrap();
            let token = report.slots.into_iter().find_map(|slot| slot.token).unwrap();
            assert_eq!(token.pin_warning.as_deref(), Some(expected));
        }
        (other, _) => panic!("{other:?}"),
    }
}

const MADE: kit::Stage = |home| drop(home.token("ca"));

#[test]
fn count_low_refuses_before_the_pin_is_tried() {
    kit::stages(&[MADE, |home| {
        warned(
            home,
            COUNT_LOW,
            None,
            Some("a wrong PIN was tried since the last good one"),
        )
    }]);
}

#[test]
fn final_try_refuses_before_the_pin_is_tried() {
    kit::stages(&[MADE, |home| {
        warned(home, FINAL_TRY, None, Some("one more wrong PIN locks the token"))
    }]);
}

#[test]
fn locked_refuses_before_the_pin_is_tried() {
    kit::stages(&[MADE, |home| warned(home, LOCKED, None, Some("the PIN is locked"))]);
}

#[test]
fn no_flag_no_refusal() {
    kit::stages(&[MADE, |home| warned(home, 0, None, None)]);
}

#[test]
fn a_person_accepts_count_low() {
    kit::stages(&[MADE, |home| warned(home, COUNT_LOW, Some(PinWarning::CountLow), None)]);
}

#[test]
fn a_person_accepts_final_try() {
    kit::stages(&[MADE, |home| {
        warned(home, COUNT_LOW | FINAL_TRY, Some(PinWarning::FinalTry), None)
    }]);
}

#[test]
fn who_accepts_count_low_has_not_accepted_final_try() {
    kit::stages(&[MADE, |home| {
        let expected = Some("one more wrong PIN locks the token");
        warned(home, COUNT_LOW | FINAL_TRY, Some(PinWarning::CountLow), expected);
    }]);
}

#[test]
fn nobody_accepts_locked() {
    kit::stages(&[MADE, |home| {
        warned(home, LOCKED, Some(PinWarning::Locked), Some("the PIN is locked"))
    }]);
}

#[test]
fn a_prompt_without_a_terminal_is_refused() {
    // The process of a stage has no standard input.
    kit::stages(&[|_| {
        let error = PinSource::Prompt.read(None).unwrap_err().to_string();
        assert!(error.contains("there is no terminal"), "{error}");
    }]);
}

#[test]
fn a_pin_that_was_changed_meanwhile_is_tried_once_by_the_pool() {
    kit::stages(&[|home| {
        drop(home.token("ca"));
        let token = open(home.spied("ca"));
        let made = kit::generate(&token, 1, kit::P256);
        let key = token.ca_key(&[1], &made.spki, kit::P256).unwrap();
        let held = token.pool().read_write().unwrap();
        let session = held.enter().unwrap();
        session.set_pin(&secret(kit::PIN), &secret("another-pin")).unwrap();
        drop(session);
        drop(held);
        key.sign_bytes(b"still logged in").unwrap();
        std::fs::rename(home.tokens(), home.dir.join("away")).unwrap();
        assert!(key.sign_bytes(b"text").is_err());
        std::fs::rename(home.dir.join("away"), home.tokens()).unwrap();
        eventually(|| match key.sign_bytes(b"text") {
            Err(issuance::KeyError::Unavailable(text)) if text.contains("refused the PIN") => Ok(()),
            other => Err(other),
        });
        for _ in 0..20 {
            assert!(key.sign_bytes(b"text").is_err());
        }
        assert_eq!((home.calls("C_Login"), token.login_attempts()), (2, 2));
    }]);
}

/// The PIN is not kept: without its file there is no login, and a new PIN there is the next one tried.
#[test]
fn a_pin_is_read_again_for_each_login() {
    kit::stages(&[|home| {
        drop(home.token("ca"));
        let file = home.dir.join("pin");
        let write = |pin: &str| {
            let mut options = std::fs::OpenOptions::new();
            let options = std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.write(true).create(true).truncate(true).open(&file).unwrap();
            std::io::Write::write_all(&mut file, pin.as_bytes()).unwrap();
        };
        let open = || Token::open_from(home.spied("ca"), PinSource::File(file.clone()), None);
        assert!(matches!(open(), Err(HsmError::Pin(text)) if text.contains("No such file")));
        write(kit::PIN);
        let token = open().unwrap();
        let made = kit::generate(&token, 1, kit::P256);
        let key = token.ca_key(&[1], &made.spki, kit::P256).unwrap();
        {
            let held = token.pool().read_write().unwrap();
            let session = held.enter().unwrap();
            session.set_pin(&secret(kit::PIN), &secret("another-pin")).unwrap();
        }
        std::fs::remove_file(&file).unwrap();
        key.sign_bytes(b"no PIN is needed for it").unwrap();
        std::fs::rename(home.tokens(), home.dir.join("away")).unwrap();
        assert!(key.sign_bytes(b"text").is_err());
        std::fs::rename(home.dir.join("away"), home.tokens()).unwrap();
        eventually(|| match key.sign_bytes(b"text") {
            Err(issuance::KeyError::Unavailable(text)) if text.contains("No such file") => Ok(()),
            other => Err(other),
        });
        assert_eq!(home.calls("C_Login"), 1);
        write("another-pin");
        eventually(|| key.sign_bytes(b"text"));
        assert_eq!(home.calls("C_Login"), 2);
    }]);
}

#[test]
fn a_descriptor_gives_its_pin_once_and_the_pool_heals_with_it() {
    kit::stages(&[|home| {
        drop(home.token("ca"));
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, kit::PIN.as_bytes()).unwrap();
        drop(writer);
        let source = PinSource::Fd(std::os::fd::AsRawFd::as_raw_fd(&reader));
        let token = Token::open_from(home.config("ca"), source, None).unwrap();
        let made = kit::generate(&token, 1, kit::P256);
        let key = token.ca_key(&[1], &made.spki, kit::P256).unwrap();
        std::fs::rename(home.tokens(), home.dir.join("away")).unwrap();
        assert!(key.sign_bytes(b"text").is_err());
        std::fs::rename(home.dir.join("away"), home.tokens()).unwrap();
        eventually(|| key.sign_bytes(b"text"));
        assert_eq!(token.login_attempts(), 2);
    }]);
}
