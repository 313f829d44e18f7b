//! Cosignatures of witnesses (C2SP tlog-cosignature, `cosignature/v1`): "as of this time, this was the longest tree I saw,
//! and it continued all I saw before".

use crate::note::{Note, NoteError, NoteSignature, SignatureKind, SigningKey, VerifierKey};

/// A witness's word that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// When the witness saw it, unix seconds.
    pub time: u64,
}

fn message(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// Sign the text of a checkpoint as a witness.
///
/// # Errors
/// [`NoteError::Signer`], also for a key of another kind.
pub fn cosign(key: &SigningKey, text: &str, time: u64) -> Result<NoteSignature, NoteError> {
    if key.verifier().kind() != SignatureKind::Cosignature || time > i64::MAX as u64 {
        return Err(NoteError::Signer(
            "the key is no witness's, or the time no time".to_owned(),
        ));
    }
    let signature = key.sign_raw(&message(time, text))?;
    Ok(NoteSignature {
        name: key.verifier().name().clone(),
        id: key.verifier().id(),
        signature: [time.to_be_bytes().as_slice(), &signature].concat(),
    })
}

impl Cosignature {
    /// Check a witness's cosignature of a note. Every line of that witness must be right; the latest counts.
    ///
    /// # Errors
    /// [`NoteError::Unknown`], [`NoteError::Wrong`].
    pub fn of(note: &Note, key: &VerifierKey) -> Result<Self, NoteError> {
        let mut latest = None;
        if key.kind() == SignatureKind::Cosignature {
            for line in note.signatures().iter().filter(|line| key.made(line)) {
                let time = check(note.text(), line, key).ok_or_else(|| NoteError::Wrong(key.name().clone()))?;
                latest = latest.max(Some(time));
            }
        }
        let time = latest.ok_or(NoteError::Unknown)?;
        Ok(Self { time })
    }
}

fn check(text: &str, line: &NoteSignature, key: &VerifierKey) -> Option<u64> {
    let (time, signature) = line.signature.split_first_chunk::<8>()?;
    let time = u64::from_be_bytes(*time);
    let right = time <= i64::MAX as u64 && key.verify_raw(&message(time, text), signature);
    right.then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::tests::key;

    const TEXT: &str = "ledger.example\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_message_is_that_of_c2sp() {
        assert_eq!(
            message(1_679_315_147, "example.com/behind-the-sofa\n"),
            b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n"
        );
    }

    #[test]
    fn made_and_checked() {
        let witness = key("w.example", SignatureKind::Cosignature, 3);
        let mut note = Note::new(TEXT).unwrap();
        assert_eq!(Cosignature::of(&note, witness.verifier()), Err(NoteError::Unknown));
        let line = cosign(&witness, TEXT, 7).unwrap();
        assert_eq!(line.signature.len(), 72);
        note.add(line.clone());
        assert_eq!(Cosignature::of(&note, witness.verifier()), Ok(Cosignature { time: 7 }));
        let other = key("w.example", SignatureKind::Cosignature, 4);
        assert_eq!(Cosignature::of(&note, other.verifier()), Err(NoteError::Unknown));
        let text = key("w.example", SignatureKind::Ed25519, 3);
        assert_eq!(Cosignature::of(&note, text.verifier()), Err(NoteError::Unknown));
        assert!(cosign(&text, TEXT, 7).is_err());
        assert!(cosign(&witness, TEXT, u64::MAX).is_err());
        // Another time, another text, cut off: each wrong.
        let wrong = Err(NoteError::Wrong(witness.verifier().name().clone()));
        for change in 0..72 {
            let mut bad = line.clone();
            bad.signature[change] ^= 1;
            let mut note = Note::new(TEXT).unwrap();
            note.add(bad);
            assert_eq!(Cosignature::of(&note, witness.verifier()), wrong, "octet {change}");
        }
        let mut elsewhere = Note::new(&TEXT.replace("\n1\n", "\n2\n")).unwrap();
        elsewhere.add(line.clone());
        assert_eq!(Cosignature::of(&elsewhere, witness.verifier()), wrong);
        for length in [1, 7, 8, 71] {
            let mut short = line.clone();
            short.signature.truncate(length);
            let mut note = Note::new(TEXT).unwrap();
            note.add(short);
            assert_eq!(Cosignature::of(&note, witness.verifier()), wrong);
        }
    }
}
