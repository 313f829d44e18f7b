//! Witnesses see a checkpoint before anybody else does, and say that it continues all they saw before. What they saw and
//! this record does not have, ends issuing: whoever put an old record back has no power over them.

use ledger::{AddCheckpoint, Consistency, Cosignature, Note, SignedCheckpoint, TileNodes, WitnessAnswer, consistency};

use crate::house::witness::Witness;
use crate::house::{House, Ledger, LedgerFault, Recorded};

/// What one witness makes of it.
enum Word {
    /// It signed: the note with its line, and nothing else that it sent.
    Seen(Vec<ledger::NoteSignature>),
    /// It is away, or says what is no answer.
    Silent(String),
    /// It has seen a longer tree.
    Ahead(u64),
    /// It has seen another tree.
    Another(String),
}

/// Show a checkpoint to the witnesses, all at once; gives it with their cosignatures.
///
/// # Errors
/// [`LedgerFault::Unwitnessed`] when too few signed; [`LedgerFault::Broken`] when one has seen a tree that the record does
/// not continue, or a longer one than the record has; [`LedgerFault::Store`].
pub(super) fn seen(house: &House, ledger: &Ledger, signed: SignedCheckpoint) -> Result<SignedCheckpoint, LedgerFault> {
    let words = std::thread::scope(|scope| {
        let asked: Vec<_> = ledger
            .witnesses
            .iter()
            .map(|witness| scope.spawn(|| show(house, witness, &signed)))
            .collect();
        asked
            .into_iter()
            .map(|thread| {
                let panicked = |_| {
                    Err(LedgerFault::Sign(
                        "a thread that asks a witness ended in a panic".to_owned(),
                    ))
                };
                thread.join().unwrap_or_else(panicked)
            })
            .collect::<Result<Vec<_>, _>>()
    })?;
    let mut witnessed = signed;
    let (mut have, mut silent) = (0, Vec::new());
    for (witness, word) in ledger.witnesses.iter().zip(words) {
        let name = witness.key().name();
        match word {
            Word::Seen(lines) => {
                have += 1;
                lines.into_iter().for_each(|line| witnessed.add(line));
            }
            Word::Silent(why) => silent.push(format!("{name}: {why}")),
            Word::Ahead(size) => {
                let here = house.store.ledger()?.head.size;
                if here < size {
                    return Err(LedgerFault::Broken(format!(
                        "the witness {name} has seen {size} entries of the ledger; the record has {here}: it is older than what was said"
                    )));
                }
                // Another server has shown it a longer tree of this record since: the next turn goes on from there.
                silent.push(format!("{name}: it has seen a later tree"));
            }
            Word::Another(why) => {
                return Err(LedgerFault::Broken(format!(
                    "the witness {name} has seen another tree under the ledger's name: {why}"
                )));
            }
        }
    }
    house.metrics.witnesses(have);
    let quorum = ledger.terms.quorum;
    if have < quorum {
        let why = silent.join("; ");
        return Err(LedgerFault::Unwitnessed { have, quorum, why });
    }
    if !silent.is_empty() {
        tracing::debug!(
            why = silent.join("; "),
            "a checkpoint is published without some witnesses"
        );
    }
    Ok(witnessed)
}

/// Show what is published to the witnesses that were not heard since the start: whoever saw a tree that the record does not
/// have must not wait until there is news.
///
/// # Errors
/// As [`seen`], but for those that are away.
pub(super) fn heard(house: &House, ledger: &Ledger, published: &SignedCheckpoint) -> Result<(), LedgerFault> {
    if ledger.witnesses.iter().all(|witness| witness.stands() > 0) {
        return Ok(());
    }
    match seen(house, ledger, published.clone()) {
        Ok(_) | Err(LedgerFault::Unwitnessed { .. }) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Show it to one of them: from where it stood, and, if it stands elsewhere, once more from there.
fn show(house: &House, witness: &Witness, signed: &SignedCheckpoint) -> Result<Word, LedgerFault> {
    let head = signed.head();
    let mut old = witness.stands().min(head.size);
    for _ in 0..2 {
        let request = AddCheckpoint {
            old,
            proof: proof(house, old, head.size)?,
            checkpoint: signed.note().clone(),
        };
        match witness.show(&request) {
            Err(why) => return Ok(Word::Silent(why)),
            Ok(WitnessAnswer::Signed(lines)) => return Ok(believed(witness, signed, lines)),
            Ok(WitnessAnswer::Stands(size)) if size > head.size => {
                witness.stood(size);
                return Ok(Word::Ahead(size));
            }
            Ok(WitnessAnswer::Stands(size)) if size == old => {
                return Ok(Word::Another(format!("of the same {size} entries, with another root")));
            }
            Ok(WitnessAnswer::Stands(size)) => {
                witness.stood(size);
                old = size;
            }
            Ok(WitnessAnswer::NotContinued) => {
                return Ok(Word::Another(format!(
                    "its first {old} entries are not those on record"
                )));
            }
            Ok(WitnessAnswer::Refused(status)) => return Ok(Word::Silent(format!("it answered {status}"))),
        }
    }
    Ok(Word::Silent("it stands elsewhere each time".to_owned()))
}

/// Its cosignature, checked; whatever else it sent is dropped.
fn believed(witness: &Witness, signed: &SignedCheckpoint, mut lines: Vec<ledger::NoteSignature>) -> Word {
    lines.retain(|line| witness.key().made(line));
    let checked = Note::new(signed.note().text()).and_then(|mut note| {
        lines.iter().for_each(|line| note.add(line.clone()));
        Cosignature::of(&note, witness.key())
    });
    match checked {
        Ok(_) => {
            witness.stood(signed.head().size);
            Word::Seen(lines)
        }
        Err(error) => Word::Silent(error.to_string()),
    }
}

fn proof(house: &House, old: u64, new: u64) -> Result<Consistency, LedgerFault> {
    let tiles = Recorded::of(&house.store);
    match consistency(&TileNodes::new(&tiles, new), old, new) {
        Ok(Some(proof)) => Ok(proof),
        Ok(None) => Err(LedgerFault::Sign(
            "a proof from a longer tree to a shorter one".to_owned(),
        )),
        Err(error) => Err(tiles.fault(error.to_string())),
    }
}
