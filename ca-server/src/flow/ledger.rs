//! The ledger goes on: let the tree grow, compare it with all that was signed, sign, remember, show it to the witnesses,
//! swap, publish. Never a smaller or another tree: then issuing halts.

use failpoint::{Point, reach};
use ledger::{CA_KEY, Checkpoint, Head, ProofFile, SignedCheckpoint, TileNodes, ca_key_line, inclusion};
use schema::Growth;

use super::failure::Trouble;
use crate::house::{House, Ledger, LedgerFault, Recorded, continued, ledger_folder};

/// Leaves of one transaction: enough for seconds, few enough to hold no writer up for long.
const GROUP: u32 = 1000;

/// One turn: everything that is recorded becomes part of a tree that is signed and published. Returns whether anything is
/// new.
///
/// # Errors
/// [`LedgerFault`]; after [`LedgerFault::Broken`] the house is halted.
pub fn advance(house: &House, ledger: &Ledger) -> Result<bool, LedgerFault> {
    turn(house, ledger).inspect_err(|fault| {
        if let LedgerFault::Broken(why) = fault {
            house.halt.set(&format!("ledger: {why}"));
        }
    })
}

fn turn(house: &House, ledger: &Ledger) -> Result<bool, LedgerFault> {
    let now = moment(house)?;
    let known = ledger.known()?;
    let head = grow(house)?;
    let state = house.store.ledger()?;
    let signed = match &state.signed {
        None => None,
        Some((_, note)) => ledger.read(note.as_bytes())?,
    };
    // Another server may have grown and signed it since: that is longer, and not of this turn.
    let of_record = signed
        .as_ref()
        .map(|signed| *signed.head())
        .filter(|of| of.size <= head.size);
    for known in known.iter().chain(&of_record) {
        continued(&house.store, known, &head)?;
    }
    if let Some(signed) = signed.filter(|signed| signed.head().size >= head.size) {
        let news = ledger
            .published()
            .is_none_or(|served| served.head().size < signed.head().size);
        super::witness::heard(house, ledger, &signed)?;
        return out(house, ledger, signed).map(|()| news);
    }
    let before = state.signed.map(|(size, _)| size);
    let signed = sign(house, ledger, head)?;
    reach(Point::CheckpointSigned);
    ledger.remember(&signed)?;
    reach(Point::CheckpointRemembered);
    let signed = super::witness::seen(house, ledger, signed)?;
    reach(Point::CheckpointWitnessed);
    let size = signed.head().size;
    if house.store.sign_ledger(before, size, &signed.note().to_string(), now)? {
        out(house, ledger, signed)?;
    }
    // Else another server was faster; its checkpoint is served in the next turn.
    Ok(true)
}

fn grow(house: &House) -> Result<Head, LedgerFault> {
    loop {
        match house.store.grow_ledger(GROUP)? {
            Growth::Built { head, added } if added < GROUP as usize => return Ok(head),
            Growth::Built { .. } => {}
            Growth::Broken(why) => return Err(LedgerFault::Broken(why)),
        }
    }
}

/// The ledger's key signs; the CA's key beside it, when it answers: without it the checkpoint is still good.
fn sign(house: &House, ledger: &Ledger, head: Head) -> Result<SignedCheckpoint, LedgerFault> {
    let origin = ledger.key.verifier().name().clone();
    let signed = Checkpoint::new(origin.clone(), head).sign(&ledger.key);
    let mut signed = signed.map_err(|e| LedgerFault::Sign(e.to_string()))?;
    if ledger.terms.ca_key && house.signer.away().is_none() && house.halt.reason().is_none() {
        match issuance::vouch(house.key.as_ref(), CA_KEY, signed.note().text()) {
            Ok(signature) => signed.add(ca_key_line(&origin, house.key.spki(), signature)),
            Err(issuance::SignFailure::Key(away)) => house.signer.failed(&away.to_string()),
            Err(wrong) => house.halt.set(&wrong.to_string()),
        }
    }
    Ok(signed)
}

/// Into the folder first, then to whoever asks here.
fn out(house: &House, ledger: &Ledger, signed: SignedCheckpoint) -> Result<(), LedgerFault> {
    if let Some(folder) = &ledger.terms.folder {
        ledger_folder::keep(folder, &house.store, &signed, ledger.key.verifier())
            .map_err(|e| LedgerFault::Memory(e.to_string()))?;
    }
    house.metrics.ledger(signed.head().size);
    ledger.publish(signed);
    reach(Point::CheckpointPublished);
    Ok(())
}

/// The proof that the entry at this place is in the tree that is signed; `None` while it is in none.
///
/// # Errors
/// [`Trouble`].
pub fn proof(house: &House, place: u64) -> Result<Option<ProofFile>, Trouble> {
    let Some(signed) = house.ledger.as_ref().and_then(Ledger::published) else {
        return Ok(None);
    };
    let size = signed.head().size;
    if place >= size {
        return Ok(None);
    }
    let tiles = Recorded::of(&house.store);
    let found = inclusion(&TileNodes::new(&tiles, size), place, size);
    let inclusion = found.map_err(|e| Trouble::Storage(e.to_string()))?;
    Ok(inclusion.map(|inclusion| ProofFile {
        inclusion,
        checkpoint: signed.note().clone(),
    }))
}

fn moment(house: &House) -> Result<i64, LedgerFault> {
    let moment = house.clock.read();
    if moment.ran_back {
        Err(LedgerFault::Clock)
    } else {
        Ok(moment.now.0)
    }
}
