//! `ca-cli trust tpm refuse CA`.

use attest::trust::About;
use policies::trust::Ca;

use super::decided;
use crate::cli::trust::{IakRefuse, Refuse, StoreFile};
use crate::exit::Failure;
use crate::output::Report;
use crate::trust::{Held, decision, hash};

pub(super) fn run_iak(arguments: &IakRefuse) -> Result<Report, Failure> {
    let arguments = Refuse {
        ca: arguments.ca.clone(),
        certificate_sha256: arguments.certificate_sha256.clone(),
        key_sha256: arguments.key_sha256.clone(),
        name: arguments.name.clone(),
        why: arguments.why.clone(),
        who: arguments.who.clone(),
        store: StoreFile {
            store: arguments.store.store.clone(),
        },
    };
    run(&arguments, About::Iak)
}

pub(super) fn run(arguments: &Refuse, about: About) -> Result<Report, Failure> {
    let mut held = Held::open(&arguments.store.store, about)?;
    let before = held.store.clone();
    let decision = decision(&arguments.who, &arguments.why);
    let by_hash = match (&arguments.certificate_sha256, &arguments.key_sha256) {
        (Some(sha256), _) => Some(Ca::CertificateHash(hash(sha256)?)),
        (None, Some(sha256)) => Some(Ca::KeyHash(hash(sha256)?)),
        (None, None) => None,
    };
    let name = match (by_hash, &arguments.ca) {
        (Some(ca), _) => {
            let name = arguments.name.clone().unwrap_or_default();
            held.store.refuse_hash(&name, ca, "a hash by hand", decision)?;
            name
        }
        (None, ca) => {
            let name = held.meant(ca.as_deref().unwrap_or_default(), &arguments.who)?;
            held.store.refuse(&name, decision)?;
            name
        }
    };
    let store = held.save()?;
    let was = before.get(&name).map(|entry| entry.state.as_str());
    Ok(decided(&store, &name, was))
}
