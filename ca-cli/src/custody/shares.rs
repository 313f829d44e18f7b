//! Shares on paper and at the keyboard.

use attest::Entropy;
use ceremony::display;
use ceremony::share::{
    CombineError, Commitment, Gathering, Reading, Secret, SecretKind, Share, ShareReader, Threshold, Wanted, draw_pin,
    split,
};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};

/// Letters of a drawn PIN: 96 bits.
const PIN_LETTERS: usize = 24;

/// Where lines are typed. What is typed is not shown: the camera would have it.
pub(crate) trait Keyboard {
    /// Show a line.
    fn say(&mut self, text: &str);
    /// Ask for a line; not echoed.
    fn hidden(&mut self, prompt: &str) -> Result<Zeroizing<String>, Failure>;
}

/// Where whole shares come from: a keyboard, or in a rehearsal the sheets themselves.
pub(crate) trait ShareSource {
    /// Show a line.
    fn say(&mut self, text: &str);
    /// The share of the `turn`-th officer, from one.
    fn share(&mut self, which: &str, kind: SecretKind, turn: u8) -> Result<Share, Failure>;
}

/// The terminal of this process.
pub(crate) struct Tty;

impl Keyboard for Tty {
    fn say(&mut self, text: &str) {
        println!("{text}");
    }

    fn hidden(&mut self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        hsm::hidden(prompt).map_err(|e| {
            Failure::new(Exit::Stopped, format!("nothing was typed: {e}")).fix("shares are typed at a terminal")
        })
    }
}

/// Draw a PIN and split it.
pub(crate) fn new_pin(
    ceremony: &str,
    kind: SecretKind,
    threshold: Threshold,
    entropy: &mut dyn Entropy,
) -> Result<(SecretString, Vec<Share>), Failure> {
    let pin = draw_pin(PIN_LETTERS, entropy).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    let shares = split(&pin, ceremony, kind, threshold, entropy);
    let shares = shares.map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
    Ok((pin_of(&pin)?, shares))
}

/// Draw the key that wraps a backup and split it.
pub(crate) fn new_backup_key(
    ceremony: &str,
    threshold: Threshold,
    entropy: &mut dyn Entropy,
) -> Result<(Zeroizing<[u8; 32]>, Vec<Share>), Failure> {
    let mut key = Zeroizing::new([0; 32]);
    let failed = |e: &dyn core::fmt::Display| Failure::new(Exit::Failed, e.to_string());
    entropy.fill(&mut *key).map_err(|e| failed(&e))?;
    let secret = Secret::new(Zeroizing::new(key.to_vec()));
    let shares = split(&secret, ceremony, SecretKind::BackupKey, threshold, entropy).map_err(|e| failed(&e))?;
    Ok((key, shares))
}

/// A PIN that was put together.
pub(crate) fn pin_of(secret: &Secret) -> Result<SecretString, Failure> {
    let text = core::str::from_utf8(secret.expose());
    let text = text.map_err(|_| Failure::new(Exit::No, "the shares make a secret, but no PIN"))?;
    Ok(SecretString::new(Box::from(text)))
}

/// A wrapping key that was put together.
pub(crate) fn key_of(secret: &Secret) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let mut key = Zeroizing::new([0; 32]);
    if secret.expose().len() != key.len() {
        return Err(Failure::new(Exit::No, "the shares make a secret, but no backup key"));
    }
    key.copy_from_slice(secret.expose());
    Ok(key)
}

/// The sheet of one share, for the printer: what it is, its lines with their numbers, the same as QR code.
pub(crate) fn sheet(ceremony: &str, role: &str, share: &Share, rehearsal: bool) -> Zeroizing<String> {
    let lines = share.lines();
    let mut sheet = Zeroizing::new(String::with_capacity(16 << 10));
    if rehearsal {
        sheet.push_str("REHEARSAL   REHEARSAL   REHEARSAL\n\n");
    }
    sheet.push_str(&format!(
        "Share {} of {} of the {}\nceremony {ceremony}\nfor {role}\n{} of these together make the secret, fewer tell nothing.\n\n",
        share.index(),
        share.threshold().of(),
        share.kind(),
        share.threshold().needed(),
    ));
    let mut code = Zeroizing::new(String::with_capacity(1 << 10));
    for (line, number) in lines.iter().zip(1_u8..) {
        sheet.push_str(&format!("{number:>4}:  "));
        sheet.push_str(line);
        sheet.push('\n');
        code.push_str(line);
        code.push('\n');
    }
    sheet.push_str(
        "\nThe last four letters of a line are its checksum. Only A C D E F H J K M N P R T W X Y occur.\n\n",
    );
    if let Some(picture) = display::qr_text(&code) {
        sheet.push_str(&Zeroizing::new(picture));
        sheet.push('\n');
    }
    sheet
}

/// Take one share, line by line, until it is whole. `stop` ends it.
pub(crate) fn type_share(keyboard: &mut dyn Keyboard, which: &str) -> Result<Share, Failure> {
    let mut reader = ShareReader::default();
    let mut of = None;
    loop {
        let count = of.map_or_else(String::new, |of: u8| format!(" of {of}"));
        let line = keyboard.hidden(&format!("{which}, line {}{count}: ", reader.next()))?;
        if line.trim().eq_ignore_ascii_case("stop") {
            return Err(Failure::new(Exit::Stopped, "stopped at the shares: nothing was opened"));
        }
        match reader.line(&line) {
            Ok(Reading::Done(share)) => return Ok(share),
            Ok(Reading::More { of: all, .. }) => of = Some(all),
            Err(error) => {
                keyboard.say(&error.to_string());
                if reader.next() == 1 {
                    of = None;
                }
            }
        }
    }
}

/// The share on a sheet that [`sheet`] made.
pub(crate) fn of_sheet(sheet: &[u8]) -> Result<Share, String> {
    let text = core::str::from_utf8(sheet).map_err(|e| e.to_string())?;
    let mut lines = Zeroizing::new(String::with_capacity(sheet.len()));
    let numbered = |line: &&str| {
        let number = line.split_once(':').map(|(number, _)| number.trim());
        number.is_some_and(|number| number.parse::<u8>().is_ok())
    };
    for line in text.lines().filter(numbered) {
        lines.push_str(line);
        lines.push('\n');
    }
    Share::read(&lines).map_err(|e| e.to_string())
}

/// Refuse a share that is another ceremony's.
pub(crate) fn belongs(ceremony: &str, kind: SecretKind, share: Share) -> Result<(), Failure> {
    let mut gathering = Gathering::new(Wanted::new(ceremony, kind, None));
    let added = gathering.add(share);
    added.map(|_| ()).map_err(|e| Failure::new(Exit::No, e.to_string()))
}

/// Gather the secret from as many officers as it needs. A share that is refused is asked for again; when all are there
/// and do not make the secret, that is an end.
pub(crate) fn gather(
    ceremony: &str,
    kind: SecretKind,
    commitment: Option<Commitment>,
    source: &mut (impl ShareSource + ?Sized),
) -> Result<Secret, Failure> {
    let mut gathering = Gathering::new(Wanted::new(ceremony, kind, commitment));
    loop {
        let (which, turn) = match gathering.standing() {
            None => (format!("first share of the {kind}"), 1),
            Some(standing) => {
                let turn = standing.have.saturating_add(1);
                (format!("share {turn} of {} of the {kind}", standing.needed), turn)
            }
        };
        let share = source.share(&which, kind, turn)?;
        match gathering.add(share) {
            Ok(standing) => {
                source.say(&format!("{} of {} shares entered", standing.have, standing.needed));
                if standing.have >= standing.needed {
                    break;
                }
            }
            Err(error) => source.say(&error.to_string()),
        }
    }
    gathering.finish().map_err(|error| {
        let failure = Failure::new(Exit::No, error.to_string());
        match error {
            CombineError::Altered => {
                failure.fix("compare the papers with the record; another choice of officers may do")
            }
            _ => failure,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use attest::EntropyError;
    use secrecy::ExposeSecret as _;

    use super::*;

    struct Os;
    impl Entropy for Os {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
            openssl::rand::rand_bytes(out).map_err(|_| EntropyError)
        }
    }

    /// Types what it is told to, and keeps what is said.
    #[derive(Default)]
    struct Hands {
        types: VecDeque<String>,
        said: Vec<String>,
        asked: Vec<String>,
    }

    impl ShareSource for Hands {
        fn say(&mut self, text: &str) {
            self.said.push(text.to_owned());
        }
        fn share(&mut self, which: &str, _: SecretKind, _: u8) -> Result<Share, Failure> {
            type_share(self, which)
        }
    }

    impl Keyboard for Hands {
        fn say(&mut self, text: &str) {
            self.said.push(text.to_owned());
        }
        fn hidden(&mut self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
            self.asked.push(prompt.to_owned());
            self.types
                .pop_front()
                .map(Zeroizing::new)
                .ok_or_else(|| Failure::new(Exit::Stopped, "end"))
        }
    }

    fn lines(share: &Share) -> Vec<String> {
        share.lines().iter().map(|line| line.to_string()).collect()
    }

    fn three() -> (SecretString, Vec<Share>) {
        new_pin("root-r1", SecretKind::TokenPin, Threshold::new(2, 3).unwrap(), &mut Os).unwrap()
    }

    fn typed(lines: impl IntoIterator<Item = String>) -> Hands {
        Hands {
            types: lines.into_iter().collect(),
            ..Hands::default()
        }
    }

    fn gathered(hands: &mut Hands) -> Result<Secret, Failure> {
        gather("root-r1", SecretKind::TokenPin, None, hands)
    }

    #[test]
    fn two_of_three_papers_open_the_token() {
        let (pin, shares) = three();
        let mut hands = typed(lines(&shares[2]).into_iter().chain(lines(&shares[0])));
        let made = pin_of(&gathered(&mut hands).unwrap()).unwrap();
        assert_eq!(made.expose_secret(), pin.expose_secret());
        assert_eq!(made.expose_secret().len(), PIN_LETTERS);
        assert_eq!(hands.said, ["1 of 2 shares entered", "2 of 2 shares entered"]);
        assert_eq!(hands.asked[0], "first share of the token PIN, line 1: ");
        assert_eq!(hands.asked[1], "first share of the token PIN, line 2 of 10: ");
        assert_eq!(hands.asked[10], "share 2 of 2 of the token PIN, line 1: ");
    }

    #[test]
    fn a_wrong_line_is_asked_for_again_and_a_wrong_share_too() {
        let (_, shares) = three();
        let (_, other) = new_pin("root-r2", SecretKind::TokenPin, Threshold::new(2, 3).unwrap(), &mut Os).unwrap();
        let mut slip = lines(&shares[0])[3].clone();
        let last = slip.pop().unwrap();
        slip.push(if last == 'A' { 'C' } else { 'A' });
        let mut all = lines(&shares[0])[..3].to_vec();
        all.extend([slip, "rubbish".to_owned()]);
        all.extend(lines(&shares[0])[3..].to_vec());
        all.extend(lines(&shares[0]));
        all.extend(lines(&other[1]));
        all.extend(lines(&shares[1]));
        let mut hands = typed(all);
        gathered(&mut hands).unwrap();
        assert_eq!(hands.said[0], "line 4 is wrong: read it again");
        assert!(
            hands.said[1].starts_with("line 4 has a character that is on no share"),
            "{}",
            hands.said[1]
        );
        assert_eq!(
            hands.said[2..],
            [
                "1 of 2 shares entered",
                "share 1 was typed already: another person's is wanted",
                "this share is of another ceremony",
                "2 of 2 shares entered",
            ]
        );
    }

    #[test]
    fn stop_stops_and_the_end_of_the_terminal_too() {
        let (_, shares) = three();
        let mut all = lines(&shares[0])[..5].to_vec();
        all.push(" Stop ".to_owned());
        assert_eq!(gathered(&mut typed(all)).unwrap_err().exit, Exit::Stopped);
        assert_eq!(gathered(&mut typed(lines(&shares[0]))).unwrap_err().exit, Exit::Stopped);
    }

    #[test]
    fn what_is_said_never_has_a_letter_of_a_share() {
        let (pin, shares) = three();
        let mut hands = typed(lines(&shares[0]).into_iter().chain(lines(&shares[1])));
        gathered(&mut hands).unwrap();
        let said = [hands.said.join("\n"), hands.asked.join("\n")].concat();
        assert!(!said.contains(pin.expose_secret()));
        for line in lines(&shares[0]) {
            assert!(!line.split(' ').any(|group| said.contains(group)), "{said}");
        }
    }

    #[test]
    fn the_sheet_has_everything_to_type_it_again() {
        let (_, shares) = three();
        let sheet = sheet("root-r1", "crypto officer 2", &shares[1], true);
        assert!(sheet.starts_with("REHEARSAL"));
        for text in [
            "Share 2 of 3 of the token PIN",
            "ceremony root-r1",
            "for crypto officer 2",
            "2 of these",
        ] {
            assert!(sheet.contains(text), "{text}");
        }
        // A person types the numbered lines as they stand.
        let numbered: Vec<&str> = sheet
            .lines()
            .filter(|l| l.split_once(':').is_some_and(|(n, _)| n.trim().parse::<u8>().is_ok()))
            .collect();
        assert_eq!(numbered.len(), 10);
        assert_eq!(Share::read(&numbered.join("\n")).unwrap().index(), 2);
        assert_eq!(of_sheet(sheet.as_bytes()).unwrap().index(), 2);
        assert!(sheet.contains('█'), "the QR code");
    }

    #[test]
    fn a_backup_key_comes_back() {
        let (key, shares) = new_backup_key("root-r1", Threshold::new(2, 2).unwrap(), &mut Os).unwrap();
        let mut hands = typed(lines(&shares[0]).into_iter().chain(lines(&shares[1])));
        let secret = gather(
            "root-r1",
            SecretKind::BackupKey,
            Some(shares[0].commitment()),
            &mut hands,
        )
        .unwrap();
        assert_eq!(*key_of(&secret).unwrap(), *key);
        assert!(key_of(&Secret::new(Zeroizing::new(vec![1; 31]))).is_err());
        assert!(pin_of(&Secret::new(Zeroizing::new(vec![0xff; 4]))).is_err());
    }
}
