use std::collections::BTreeSet;

use attest::{Entropy, EntropyError};
use proptest::prelude::*;

use super::*;

/// Of the operating system.
struct Os;
impl Entropy for Os {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        openssl::rand::rand_bytes(out).map_err(|_| EntropyError)
    }
}

/// Fails after so many draws.
struct Broken(u32);
impl Entropy for Broken {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.0 = self.0.checked_sub(1).ok_or(EntropyError)?;
        out.fill(1);
        Ok(())
    }
}

const NAME: &str = "root-r1";
const PIN: SecretKind = SecretKind::TokenPin;

fn secret(bytes: &[u8]) -> Secret {
    Secret::new(Zeroizing::new(bytes.to_vec()))
}

fn of(needed: u8, of: u8) -> Threshold {
    Threshold::new(needed, of).unwrap()
}

fn made(needed: u8, count: u8) -> Vec<Share> {
    split(&secret(b"a secret"), NAME, PIN, of(needed, count), &mut Os).unwrap()
}

/// The same paper in somebody's hand.
fn copy(share: &Share) -> Share {
    Share::read(&paper(share)).unwrap()
}

fn paper(share: &Share) -> String {
    share
        .lines()
        .iter()
        .map(|line| format!("{}\n", line.as_str()))
        .collect()
}

fn wanted() -> Wanted {
    Wanted::new(NAME, PIN, None)
}

fn together<'a>(shares: impl IntoIterator<Item = &'a Share>) -> Result<Secret, CombineError> {
    let mut gathering = Gathering::new(wanted());
    for share in shares {
        gathering.add(copy(share))?;
    }
    gathering.finish()
}

#[test]
fn c01_every_m_of_n_up_to_eight_and_every_choice_of_shares() {
    for n in 2..=8_u8 {
        for m in 2..=n {
            let shares = made(m, n);
            assert_eq!(shares.len(), usize::from(n));
            for chosen in 0..1_u32 << n {
                let some: Vec<&Share> = shares.iter().filter(|s| chosen >> (s.index() - 1) & 1 == 1).collect();
                match chosen.count_ones() {
                    count if count < u32::from(m) => {
                        assert!(
                            matches!(together(some), Err(CombineError::TooFew { .. })),
                            "{m} of {n}: {chosen:b}"
                        );
                    }
                    count if count == u32::from(m) => {
                        assert_eq!(together(some).unwrap().expose(), b"a secret", "{m} of {n}: {chosen:b}");
                    }
                    _ => assert_eq!(together(some).unwrap_err(), CombineError::Enough(m)),
                }
            }
        }
    }
}

/// RUSTSEC-2020-0160 (the threshold did not matter) and RUSTSEC-2024-0398 (no coefficient was ever zero): for any secret,
/// M − 1 points are spread evenly over all values, zero among them, and so is each coefficient.
#[test]
fn c01_fewer_than_m_shares_are_evenly_spread_whatever_the_secret() {
    const SPLITS: usize = 10_000;
    for secret_byte in [0_u8, 0x5a] {
        for m in 2..=4_u8 {
            // counts[i][v]: how often the i-th of M − 1 shares had the value v; and how often their XOR had it.
            let mut counts = vec![[0_u32; 256]; usize::from(m)];
            for _ in 0..SPLITS / 8 {
                // Eight equal bytes are eight splits of one.
                let shares = split(&secret(&[secret_byte; 8]), NAME, PIN, of(m, 4), &mut Os).unwrap();
                for byte in 0..8 {
                    let mut together = 0;
                    for (i, share) in shares.iter().take(usize::from(m) - 1).enumerate() {
                        counts[i][usize::from(share.point[byte])] += 1;
                        together ^= share.point[byte];
                    }
                    counts[usize::from(m) - 1][usize::from(together)] += 1;
                }
            }
            let expected = SPLITS as f64 / 256.0;
            for (i, values) in counts.iter().enumerate() {
                let chi: f64 = values
                    .iter()
                    .map(|n| (f64::from(*n) - expected).powi(2) / expected)
                    .sum();
                // 255 degrees of freedom: mean 255, deviation 22.6. Ten deviations: never by chance; a value that
                // cannot occur adds 39, odd values only add ten thousand.
                assert!(chi < 481.0, "m {m}, secret {secret_byte}, share {i}: {chi}");
                assert!(values.iter().filter(|n| **n == 0).count() == 0, "every value occurs");
            }
        }
    }
}

/// With M = 2 the share at x = 1 is secret + coefficient: the coefficient itself is seen, and must take the value zero.
#[test]
fn c01_the_coefficient_zero_occurs() {
    let mut seen = BTreeSet::new();
    for _ in 0..1250 {
        let shares = split(&secret(&[0x77; 8]), NAME, PIN, of(2, 2), &mut Os).unwrap();
        seen.extend(shares[0].point.iter().take(8).map(|y| y ^ 0x77));
    }
    assert_eq!(seen.len(), 256, "all coefficients occur: zero, too, and even ones");
}

/// Given M − 1 shares, each secret is as possible as any other: for each there is exactly one share that makes it.
#[test]
fn c01_every_secret_is_possible_for_who_has_one_share_less() {
    let shares = split(&secret(b"x"), NAME, PIN, of(3, 3), &mut Os).unwrap();
    let mut possible = BTreeSet::new();
    for y in 0..=255_u8 {
        let points = [(&shares[0], None), (&shares[1], None), (&shares[2], Some(y))].map(|(share, y)| {
            let bytes = [share.index(), y.unwrap_or(share.point[0])];
            blahaj::Share::try_from(&bytes[..]).unwrap()
        });
        possible.extend(blahaj::Sharks(3).recover(&points).unwrap());
    }
    assert_eq!(possible.len(), 256);
}

#[test]
fn the_same_share_twice_is_refused() {
    let shares = made(3, 5);
    assert_eq!(
        together([&shares[0], &shares[4], &shares[0]]).unwrap_err(),
        CombineError::Twice(1)
    );
}

#[test]
fn a_share_of_another_ceremony_kind_or_split_is_refused() {
    let shares = made(2, 3);
    let mut gathering = Gathering::new(wanted());
    gathering.add(copy(&shares[0])).unwrap();
    let foreign = |name: &str, kind, threshold| split(&secret(b"a secret"), name, kind, threshold, &mut Os).unwrap();
    let other = foreign("root-r2", PIN, of(2, 3)).pop().unwrap();
    assert_eq!(gathering.add(other).unwrap_err(), CombineError::OtherCeremony);
    let other = foreign(NAME, SecretKind::BackupKey, of(2, 3)).pop().unwrap();
    assert!(matches!(gathering.add(other), Err(CombineError::OtherKind { .. })));
    // The same secret, name, kind and numbers, split once more.
    let other = foreign(NAME, PIN, of(2, 3)).pop().unwrap();
    assert_eq!(gathering.add(other).unwrap_err(), CombineError::OtherSplit);
    // What was refused changed nothing.
    assert_eq!(
        gathering.add(copy(&shares[2])).unwrap(),
        Standing { have: 2, needed: 2 }
    );
    assert_eq!(gathering.finish().unwrap().expose(), b"a secret");
}

#[test]
fn the_split_that_was_recorded_is_the_only_one() {
    let (recorded, again) = (made(2, 3), made(2, 3));
    let mut gathering = Gathering::new(Wanted::new(NAME, PIN, Some(recorded[0].commitment())));
    assert_eq!(gathering.add(copy(&again[0])).unwrap_err(), CombineError::OtherSplit);
    gathering.add(copy(&recorded[0])).unwrap();
    gathering.add(copy(&recorded[1])).unwrap();
    assert_eq!(gathering.finish().unwrap().expose(), b"a secret");
}

#[test]
fn an_altered_share_makes_a_refusal_and_never_a_wrong_key() {
    let shares = made(2, 3);
    for byte in 0..shares[1].point.len() {
        let mut forged = copy(&shares[1]);
        forged.point[byte] ^= 1;
        // Its checksums are right: it is printed anew.
        assert_eq!(together([&shares[0], &forged]).unwrap_err(), CombineError::Altered);
        // Beside the real one of the same number it is seen at once.
        assert_eq!(together([&shares[1], &forged]).unwrap_err(), CombineError::Conflict(2));
    }
    // A lower threshold, on all papers.
    let mut lowered: Vec<Share> = made(3, 3);
    for share in &mut lowered {
        share.threshold = of(2, 3);
    }
    assert_eq!(together(&lowered[..2]).unwrap_err(), CombineError::Altered);
    // A number that is another's.
    let mut moved = copy(&shares[1]);
    moved.index = 3;
    assert_eq!(together([&shares[0], &moved]).unwrap_err(), CombineError::Altered);
}

#[test]
fn none_is_too_few() {
    assert!(matches!(together([]), Err(CombineError::TooFew { have: 0, .. })));
}

#[test]
fn thresholds_are_two_to_sixteen() {
    for (needed, count) in [(0, 0), (0, 3), (1, 1), (1, 3), (4, 3), (2, 17), (255, 255)] {
        assert_eq!(Threshold::new(needed, count), None, "{needed} of {count}");
    }
    assert_eq!(of(16, 16).to_string(), "16 of 16");
    assert_eq!(together(&made(16, 16)).unwrap().expose(), b"a secret");
}

#[test]
fn what_cannot_be_split_is_refused() {
    for length in [0, LONGEST + 1] {
        let outcome = split(&secret(&vec![1; length]), NAME, PIN, of(2, 3), &mut Os);
        assert_eq!(outcome.unwrap_err(), SplitError::Length(length));
    }
    for draws in 0..2 {
        let outcome = split(&secret(b"a"), NAME, PIN, of(2, 3), &mut Broken(draws));
        assert_eq!(outcome.unwrap_err(), SplitError::Entropy(EntropyError));
    }
    let longest = split(&secret(&[7; LONGEST]), NAME, PIN, of(2, 3), &mut Os).unwrap();
    assert_eq!(together(&longest[1..]).unwrap().expose(), [7; LONGEST]);
    // Two random draws are all it takes: no other source is asked in secret.
    let one = split(&secret(b"a"), NAME, PIN, of(2, 3), &mut Broken(2)).unwrap();
    let two = split(&secret(b"a"), NAME, PIN, of(2, 3), &mut Broken(2)).unwrap();
    assert!(one.iter().zip(&two).all(|(a, b)| a.point == b.point));
}

#[test]
fn the_commitment_does_not_help_to_guess() {
    // The same PIN, split twice: nothing about the two is alike, so nobody can try PINs against one.
    let (one, two) = (made(2, 2), made(2, 2));
    assert_ne!(one[0].commitment(), two[0].commitment());
}

#[test]
fn pins_are_of_the_alphabet_and_spread() {
    let pin = draw_pin(4096, &mut Os).unwrap();
    let seen: BTreeSet<u8> = pin.expose().iter().copied().collect();
    assert_eq!(seen.into_iter().collect::<Vec<u8>>(), ALPHABET);
    assert_eq!(draw_pin(8, &mut Broken(0)).unwrap_err(), EntropyError);
}

#[test]
fn no_letter_looks_like_another_or_a_digit() {
    let distinct: BTreeSet<&u8> = ALPHABET.iter().collect();
    assert_eq!(distinct.len(), 16);
    for pair in ["O0QD", "I1LJ", "B8", "S5", "Z2", "G6C", "UV", "VY"] {
        let shown = pair.bytes().filter(|letter| ALPHABET.contains(letter)).count();
        assert!(shown <= 1, "{pair}");
    }
    assert!(!ALPHABET.iter().any(u8::is_ascii_digit));
}

/// The layout, so that a share can be read by hand when no program is left.
#[test]
fn a_printed_share_is_as_documented() {
    let shares = split(&secret(b"12345678"), NAME, PIN, of(2, 3), &mut Broken(2)).unwrap();
    let lines = shares[0].lines();
    let text: Vec<&str> = lines.iter().map(|line| line.as_str()).collect();
    assert_eq!(lines.len(), 8);
    let bytes: Vec<u8> = text
        .iter()
        .flat_map(|line| {
            let letters: Vec<u8> = line.bytes().filter(|b| *b != b' ').collect();
            let value = |letter: u8| (0..16_u8).find(|n| ALPHABET[usize::from(*n)] == letter).unwrap();
            let all: Vec<u8> = letters
                .chunks(2)
                .map(|two| value(two[0]) << 4 | value(two[1]))
                .collect();
            all[..all.len() - 2].to_vec()
        })
        .collect();
    // version, kind, number, M, N, length of the secret
    assert_eq!(bytes[..6], [1, 1, 1, 2, 3, 8]);
    assert_eq!(bytes[6..14], ceremony_tag(NAME));
    assert_eq!(bytes[14..30], shares[0].commitment().0);
    assert_eq!(bytes[30..54], shares[0].point[..]);
    assert_eq!(bytes.len(), 62);
    assert_eq!(text[0], "ACAC ACAD AEAM XAHN XJMH", "{text:#?}");
}

#[test]
fn a_wrong_line_is_named_and_wanted_again() {
    let share = made(2, 3).remove(0);
    let lines: Vec<String> = share.lines().iter().map(|line| line.to_string()).collect();
    let mut reader = ShareReader::default();
    for (place, line) in lines.iter().enumerate() {
        let number = u8::try_from(place + 1).unwrap();
        assert_eq!(reader.next(), number);
        // Each letter wrong in turn.
        for at in 0..line.len() {
            let mut wrong = line.clone().into_bytes();
            if wrong[at] == b' ' {
                continue;
            }
            wrong[at] = if wrong[at] == b'A' { b'C' } else { b'A' };
            let wrong = String::from_utf8(wrong).unwrap();
            let error = reader.line(&wrong).unwrap_err();
            assert_eq!(error, LineError::Check { line: number });
            assert_eq!(error.to_string(), format!("line {number} is wrong: read it again"));
        }
        let length = |found| LineError::Length {
            line: number,
            found,
            wanted: line.replace(' ', "").len(),
        };
        let all = line.replace(' ', "").len();
        assert_eq!(reader.line(&line[..line.len() - 1]).unwrap_err(), length(all - 1));
        assert_eq!(reader.line(&format!("{line}A")).unwrap_err(), length(all + 1));
        assert_eq!(reader.line("").unwrap_err(), length(0));
        assert_eq!(reader.line(&"A".repeat(100_000)).unwrap_err(), length(100_000));
        assert_eq!(
            reader.line(&format!("B{}", &line[1..])).unwrap_err(),
            LineError::Letter { line: number }
        );
        assert_eq!(
            reader.line(&format!("{line}é")).unwrap_err(),
            LineError::Letter { line: number }
        );
        assert_eq!(
            reader.line(&format!("77 {line}")).unwrap_err(),
            LineError::Order {
                line: number,
                found: 77
            }
        );
        // As people write: small letters, hyphens, no spaces, with the number.
        let typed = match place % 3 {
            0 => line.to_lowercase().replace(' ', "-"),
            1 => line.replace(' ', ""),
            _ => format!(" {number}: {line} "),
        };
        match reader.line(&typed).unwrap() {
            Reading::More { next, of } => assert_eq!((next, usize::from(of)), (number + 1, lines.len())),
            Reading::Done(read) => {
                assert_eq!(place + 1, lines.len());
                assert_eq!(read.bytes(), share.bytes());
            }
        }
    }
}

#[test]
fn lines_of_two_papers_do_not_go_together() {
    let shares = made(2, 3);
    let lines: Vec<Vec<String>> = shares
        .iter()
        .map(|share| share.lines().iter().map(|line| line.to_string()).collect())
        .collect();
    let mut mixed = lines[0].clone();
    mixed[5].clone_from(&lines[1][5]);
    assert_eq!(Share::read(&mixed.join("\n")).unwrap_err(), LineError::Whole);
    // Two lines of one paper in the wrong order.
    let mut swapped = lines[0].clone();
    swapped.swap(4, 5);
    assert_eq!(
        Share::read(&swapped.join("\n")).unwrap_err(),
        LineError::Check { line: 5 }
    );
    assert_eq!(
        Share::read(&lines[0][..6].join("\n")).unwrap_err(),
        LineError::Short { line: 7 }
    );
    let twice = [lines[0].join("\n"), lines[0].join("\n")].join("\n");
    assert_eq!(Share::read(&twice).unwrap_err(), LineError::Long { lines: 8 });
    assert_eq!(Share::read("").unwrap_err(), LineError::Short { line: 1 });
    // After a whole that does not fit the reader begins anew.
    let mut reader = ShareReader::default();
    for line in &mixed[..7] {
        reader.line(line).unwrap();
    }
    assert_eq!(reader.line(&mixed[7]).unwrap_err(), LineError::Whole);
    assert_eq!(reader.next(), 1);
}

/// A paper with these numbers and every checksum right.
fn forged(change: impl Fn(&mut Vec<u8>)) -> String {
    let share = made(2, 3).remove(0);
    let mut bytes = share.bytes().to_vec();
    bytes.truncate(bytes.len() - WHOLE);
    change(&mut bytes);
    let whole: [u8; WHOLE] = digest(b"holdfast share v1\0", &[&bytes]);
    bytes.extend(whole);
    let mut text = String::new();
    for (data, line) in bytes.chunks(8).zip(1_u8..) {
        let check: [u8; 2] = digest(b"holdfast share line v1\0", &[&[line], data]);
        for byte in data.iter().chain(&check) {
            text.push(char::from(ALPHABET[usize::from(byte >> 4)]));
            text.push(char::from(ALPHABET[usize::from(byte & 15)]));
        }
        text.push('\n');
    }
    text
}

#[test]
fn what_no_ceremony_printed_is_refused_at_its_first_line() {
    assert!(Share::read(&forged(|_| {})).is_ok());
    for (at, value, error) in [
        (0, 2, LineError::Version),
        (1, 0, LineError::Version),
        (1, 9, LineError::Version),
        (2, 0, LineError::ZeroIndex),
        (2, 4, LineError::Numbers),
        (3, 0, LineError::Numbers),
        (3, 1, LineError::Numbers),
        (3, 4, LineError::Numbers),
        (4, 1, LineError::Numbers),
        (4, 17, LineError::Numbers),
        (5, 0, LineError::Numbers),
        (5, 65, LineError::Numbers),
        (5, 255, LineError::Numbers),
    ] {
        let text = forged(|bytes| bytes[at] = value);
        assert_eq!(Share::read(&text).unwrap_err(), error, "byte {at} is {value}");
        let first = text.lines().next().unwrap();
        assert_eq!(ShareReader::default().line(first).unwrap_err(), error);
    }
}

#[test]
fn nothing_shows_itself() {
    let share = made(2, 3).remove(0);
    let shown = format!("{share:?} {:?} {:?}", secret(b"canary-8842"), ShareReader::default());
    assert!(!shown.contains("canary"));
    let point: Vec<String> = share.point.iter().map(u8::to_string).collect();
    assert!(!shown.contains(&point[..4].join(", ")), "{shown}");
}

proptest! {
    #[test]
    fn any_secret_comes_back(bytes in prop::collection::vec(any::<u8>(), 1..=LONGEST), m in 2..=5_u8, more in 0..4_u8, seed in any::<u64>()) {
        let shares = split(&secret(&bytes), NAME, SecretKind::BackupKey, of(m, m + more), &mut Os).unwrap();
        let mut gathering = Gathering::new(Wanted::new(NAME, SecretKind::BackupKey, None));
        let mut left: Vec<&Share> = shares.iter().collect();
        for turn in 0..m {
            let at = usize::try_from(seed >> turn).unwrap() % left.len();
            gathering.add(copy(left.swap_remove(at))).unwrap();
        }
        let made = gathering.finish().unwrap();
        prop_assert_eq!(made.expose(), &bytes[..]);
    }

    #[test]
    fn no_text_is_a_panic(text in "\\PC{0,300}") {
        let _ = Share::read(&text);
    }

    #[test]
    fn no_letters_are_a_panic(lines in prop::collection::vec("[ACDEFHJKMNPRTWXY ]{0,24}", 0..12)) {
        let _ = Share::read(&lines.join("\n"));
    }
}
