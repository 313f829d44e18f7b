//! The pool under load, at its limit, and when the token goes away.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use issuance::KeyError;

use super::kit::{self, P256, eventually, generate, open, refusal, verifies};
use crate::HsmError;

#[test]
fn sixty_four_threads_sign_at_once() {
    kit::stages(&[|home| {
        let (token, key) = kit::token_with_key(home, |config| config);
        let spki = issuance::CaKey::spki(&key).to_vec();
        let good = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..64_u32 {
                let (key, spki, good) = (&key, &spki, &good);
                scope.spawn(move || {
                    for round in 0..50_u32 {
                        let message = [thread.to_be_bytes(), round.to_be_bytes()].concat();
                        let signature = key.sign_bytes(&message).unwrap();
                        assert!(verifies(spki, P256, &message, &signature));
                        good.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(good.into_inner(), 64 * 50);
        assert_eq!(token.pool().counts(), (4, 0));
        assert_eq!(token.login_attempts(), 1);
    }]);
}

#[test]
fn no_session_is_opened_and_no_key_searched_for_a_signature() {
    kit::stages(&[|home| {
        drop(home.token("ca"));
        let token = open(home.spied("ca"));
        let made = generate(&token, 1, P256);
        let key = token.ca_key(&[1], &made.spki, P256).unwrap();
        let count = || ["C_OpenSession", "C_FindObjectsInit", "C_GetAttributeValue", "C_Login"].map(|f| home.calls(f));
        let (before, signs) = (count(), home.calls("C_SignInit"));
        for _ in 0..20 {
            key.sign_bytes(b"text").unwrap();
        }
        assert_eq!(count(), before);
        assert_eq!(home.calls("C_SignInit"), signs + 20);
    }]);
}

#[test]
fn an_exhausted_pool_answers_at_the_deadline_and_fills_again() {
    kit::stages(&[|home| {
        let deadline = Duration::from_millis(100);
        let (token, key) = kit::token_with_key(home, |config| crate::TokenConfig {
            sessions: 2,
            queue_deadline: deadline,
            ..config
        });
        let pool = token.pool();
        let leases = (pool.lease().unwrap(), pool.lease().unwrap());
        let start = Instant::now();
        assert!(matches!(pool.lease(), Err(HsmError::Busy { sessions: 2, .. })));
        assert!(start.elapsed() >= deadline);
        match key.sign_bytes(b"text") {
            Err(KeyError::Unavailable(text)) => assert!(text.contains("all 2 HSM sessions were busy"), "{text}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.counts(), (0, 2));
        drop(leases);
        assert_eq!(pool.counts(), (2, 0));
        key.sign_bytes(b"text").unwrap();
    }]);
}

#[test]
fn a_waiting_signature_gets_the_session_that_comes_back() {
    kit::stages(&[|home| {
        let (token, key) = kit::token_with_key(home, |config| crate::TokenConfig { sessions: 1, ..config });
        let lease = token.pool().lease().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| key.sign_bytes(b"text"));
            drop(lease);
            waiting.join().unwrap().unwrap();
        });
    }]);
}

#[test]
fn failed_sessions_are_replaced() {
    kit::stages(&[|home| {
        let (token, key) = kit::token_with_key(home, |config| config);
        for _ in 0..10 {
            token.pool().lease().unwrap().fail();
        }
        assert_eq!(token.pool().counts(), (0, 0));
        key.sign_bytes(b"text").unwrap();
        assert_eq!(token.pool().counts(), (1, 0));
        assert_eq!(token.login_attempts(), 1, "the keeper kept the login");
    }]);
}

#[test]
fn the_token_goes_away_and_comes_back() {
    kit::stages(&[|home| {
        let (token, key) = kit::token_with_key(home, |config| config);
        let spki = issuance::CaKey::spki(&key).to_vec();
        let (here, away) = (home.tokens(), home.dir.join("away"));
        for round in 0..3 {
            key.sign_bytes(b"before").unwrap();
            std::fs::rename(&here, &away).unwrap();
            for _ in 0..5 {
                // Nothing was signed, and that is known.
                assert!(matches!(key.sign_bytes(b"away"), Err(KeyError::Unavailable(_))));
            }
            std::fs::rename(&away, &here).unwrap();
            let signature = eventually(|| key.sign_bytes(b"after"));
            assert!(verifies(&spki, P256, b"after", &signature));
            assert_eq!(token.pool().counts(), (4, 0));
            assert_eq!(token.login_attempts(), 2 + round);
        }
    }]);
}

#[test]
fn away_and_back_unnoticed_costs_no_signature() {
    kit::stages(&[|home| {
        let (_token, key) = kit::token_with_key(home, |config| config);
        std::fs::rename(home.tokens(), home.dir.join("away")).unwrap();
        std::fs::rename(home.dir.join("away"), home.tokens()).unwrap();
        key.sign_bytes(b"text").unwrap();
    }]);
}

#[test]
fn many_threads_heal_with_one_login_for_each_backoff() {
    kit::stages(&[|home| {
        drop(home.token("ca"));
        let backoff = Duration::from_secs(2);
        let start = Instant::now();
        let token = open(crate::TokenConfig {
            login_backoff: backoff,
            ..home.spied("ca")
        });
        let made = generate(&token, 1, P256);
        let key = token.ca_key(&[1], &made.spki, P256).unwrap();
        std::fs::rename(home.tokens(), home.dir.join("away")).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| while key.sign_bytes(b"text").is_ok() {});
            }
        });
        std::fs::rename(home.dir.join("away"), home.tokens()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| eventually(|| key.sign_bytes(b"text")));
            }
        });
        let most = usize::try_from(start.elapsed().as_secs() / backoff.as_secs()).unwrap() + 1;
        // init_token logs in the security officer, not through the spy.
        let logins = home.calls("C_Login");
        assert!((2..=most).contains(&logins), "{logins} logins, {most} back-offs");
        assert_eq!(u64::try_from(logins).unwrap(), token.login_attempts());
    }]);
}

#[test]
fn a_token_away_is_answered_at_once_between_two_looks() {
    kit::stages(&[|home| {
        let (_token, key) = kit::token_with_key(home, |config| crate::TokenConfig {
            login_backoff: Duration::from_secs(60),
            ..config
        });
        std::fs::rename(home.tokens(), home.dir.join("away")).unwrap();
        assert!(key.sign_bytes(b"text").is_err());
        let start = Instant::now();
        for _ in 0..1000 {
            assert!(matches!(key.sign_bytes(b"text"), Err(KeyError::Unavailable(_))));
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "1000 answers in {:?}",
            start.elapsed()
        );
    }]);
}

#[test]
fn the_module_is_not_started_anew_under_a_token_that_works() {
    kit::stages(&[|home| {
        let (gone, kept) = (open(home.token("gone")), open(home.token("kept")));
        let made = (generate(&gone, 1, P256), generate(&kept, 1, P256));
        let lost = gone.ca_key(&[1], &made.0.spki, P256).unwrap();
        let key = kept.ca_key(&[1], &made.1.spki, P256).unwrap();
        // SoftHSM names a token's directory by UUID; the serial number is its end.
        let dir = std::fs::read_dir(home.tokens())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().replace('-', "").ends_with(gone.serial()))
            .unwrap();
        std::fs::rename(&dir, home.dir.join("away")).unwrap();
        for _ in 0..5 {
            assert!(lost.sign_bytes(b"text").is_err());
            key.sign_bytes(b"text").unwrap();
        }
        assert_eq!(kept.login_attempts(), 1, "the working token was left in peace");
        drop((key, kept));
        std::fs::rename(home.dir.join("away"), &dir).unwrap();
        eventually(|| lost.sign_bytes(b"text"));
    }]);
}

#[test]
fn another_token_under_the_same_label_is_not_taken_after_a_loss() {
    kit::stages(&[
        |home| {
            drop(home.token("ca"));
            std::fs::rename(home.tokens(), home.dir.join("impostor")).unwrap();
            std::fs::create_dir(home.tokens()).unwrap();
        },
        |home| {
            let (token, key) = kit::token_with_key(home, |config| config);
            std::fs::rename(home.tokens(), home.dir.join("away")).unwrap();
            assert!(key.sign_bytes(b"text").is_err());
            std::fs::rename(home.dir.join("impostor"), home.tokens()).unwrap();
            let expected = format!("the token with serial {} is gone", token.serial());
            eventually(|| match key.sign_bytes(b"text") {
                Err(KeyError::Unavailable(text)) if text.contains(&expected) => Ok(()),
                other => Err(other),
            });
            assert_eq!(token.login_attempts(), 1, "no PIN was given to the stranger");
        },
    ]);
}

#[test]
fn a_key_is_proven_again_after_the_token_was_away() {
    kit::stages(&[|home| {
        let (token, key) = kit::token_with_key(home, |config| config);
        let other = open(home.config("ca"));
        // While we look away somebody puts a key on the token that can carry others out.
        let held = other.pool().read_write().unwrap();
        held.enter()
            .unwrap()
            .generate_key(
                &cryptoki::mechanism::Mechanism::AesKeyGen,
                &[
                    cryptoki::object::Attribute::Token(true),
                    cryptoki::object::Attribute::ValueLen(32.into()),
                    cryptoki::object::Attribute::Wrap(true),
                    cryptoki::object::Attribute::Decrypt(true),
                ],
            )
            .unwrap();
        drop((held, other));
        key.sign_bytes(b"text").unwrap();
        std::fs::rename(home.tokens(), home.dir.join("away")).unwrap();
        assert!(key.sign_bytes(b"text").is_err());
        std::fs::rename(home.dir.join("away"), home.tokens()).unwrap();
        eventually(|| match key.sign_bytes(b"text") {
            Err(KeyError::Unavailable(text)) if text.contains("both CKA_WRAP and CKA_DECRYPT") => Ok(()),
            other => Err(other),
        });
        drop(token);
    }]);
}

#[test]
fn a_pool_needs_a_session_and_a_module() {
    kit::stages(&[|home| {
        let config = home.token("ca");
        let none = crate::TokenConfig {
            sessions: 0,
            ..config.clone()
        };
        assert!(refusal(crate::Token::open(none, kit::secret(kit::PIN))).contains("at least one session"));
        let mut pathless = config.clone();
        pathless.uri.module_path = None;
        assert!(refusal(crate::Token::open(pathless, kit::secret(kit::PIN))).contains("?module-path="));
        let mut absent = config.clone();
        absent.uri.module_path = Some(home.dir.join("none.so"));
        assert!(refusal(crate::Token::open(absent, kit::secret(kit::PIN))).contains("No such file"));
        let mut text = config;
        text.uri.module_path = Some(home.dir.join("softhsm2.conf"));
        assert!(refusal(crate::Token::open(text, kit::secret(kit::PIN))).contains("PKCS#11 module"));
    }]);
}

#[test]
fn processes_that_start_at_once_all_sign() {
    kit::crowd(
        |home| {
            let (_token, key) = kit::token_with_key(home, |config| config);
            std::fs::write(home.dir.join("spki"), issuance::CaKey::spki(&key)).unwrap();
        },
        |home| {
            let token = open(home.config("ca"));
            let spki = std::fs::read(home.dir.join("spki")).unwrap();
            let key = token.ca_key(&[1], &spki, P256).unwrap();
            for _ in 0..20 {
                assert!(verifies(&spki, P256, b"text", &key.sign_bytes(b"text").unwrap()));
            }
        },
        8,
    );
}
