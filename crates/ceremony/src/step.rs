//! The numbered steps of a plan: one source for the printed script, the screen and the check of the transcript.

use crate::{Backup, Plan, Work, display_groups};

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// People sign in.
    Present,
    /// The plan on the medium is the one on paper.
    Plan,
    /// The machine: the program's hash, and no network.
    Machine,
    /// Every file that goes in is the one the plan names.
    Inputs,
    /// The officers' approvals are counted.
    Approvals,
    /// The token is put in, its PIN is typed, and it holds what the plan says.
    Token,
    /// The key is made.
    MakeKey,
    /// The bytes to be signed, in human words; signed by a key of no worth and linted.
    ReviewCertificate,
    /// The token signs the certificate.
    SignCertificate,
    /// Its fingerprint is compared on a second device.
    CompareCertificate,
    /// The CRL in human words.
    ReviewCrl,
    /// The token signs the CRL.
    SignCrl,
    /// Its fingerprint is compared on a second device.
    CompareCrl,
    /// The backup by the vendor's procedure, done by hand.
    VendorBackup,
    /// A wrapped backup, proven by a signature of the restored key.
    WrappedBackup,
    /// The key comes back from its backup.
    Restore,
    /// The token gets a drawn PIN, which is split among the officers.
    SplitPin,
    /// The key is destroyed, and the token says so.
    Destroy,
    /// Token and medium go into their bags.
    Close,
}

/// What is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Only the Enter key.
    Enter,
    /// This word.
    Word(String),
    /// The first eight digits of a hash as another paper or device shows it; `Some` when it is known beforehand.
    Digits(Option<String>),
    /// Something that only the room knows; it goes into the transcript.
    Note(&'static str),
    /// Something secret; it goes nowhere.
    Secret(&'static str),
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// From 1.
    pub number: u32,
    /// What it does.
    pub action: Action,
    /// Role that acts.
    pub who: String,
    /// A few words.
    pub title: &'static str,
    /// What is done, sentence by sentence.
    pub does: Vec<String>,
    /// What is typed.
    pub typed: Typed,
    /// What must be seen.
    pub sees: Vec<String>,
}

impl Action {
    /// Whether it changes a token or asks it for a signature: then an intent is written before.
    #[must_use]
    pub fn touches_token(self) -> bool {
        matches!(
            self,
            Self::MakeKey | Self::SignCertificate | Self::SignCrl | Self::WrappedBackup | Self::Restore | Self::Destroy
        )
    }

    /// The file it makes, below `outputs`.
    #[must_use]
    pub fn output(self) -> Option<&'static str> {
        match self {
            Self::MakeKey => Some(KEY),
            Self::SignCertificate => Some(CERTIFICATE),
            Self::SignCrl => Some(CRL),
            Self::WrappedBackup => Some(BACKUP),
            _ => None,
        }
    }
}

/// The public half of the key that was made: SubjectPublicKeyInfo, DER.
pub const KEY: &str = "key.spki";
/// The certificate that was made, DER.
pub const CERTIFICATE: &str = "certificate.cer";
/// The CRL that was made, DER.
pub const CRL: &str = "ca.crl";
/// The wrapped backup of the key that was made.
pub const BACKUP: &str = "key.backup";

/// Roles that every plan has.
const ADMINISTRATOR: &str = "administrator";
const WITNESS: &str = "witness";

struct Writer {
    steps: Vec<Step>,
}

impl Writer {
    fn add(&mut self, action: Action, who: &str, title: &'static str, does: &[&str], typed: Typed, sees: &[String]) {
        let number = u32::try_from(self.steps.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.steps.push(Step {
            number,
            action,
            who: who.to_owned(),
            title,
            does: does.iter().map(|s| (*s).to_owned()).collect(),
            typed,
            sees: sees.to_vec(),
        });
    }
}

/// Every step of the plan, in order.
#[must_use]
pub fn steps(plan: &Plan) -> Vec<Step> {
    let mut w = Writer { steps: Vec::new() };
    opening(plan, &mut w);
    match plan.work() {
        Work::Root { crl, .. } => {
            token(plan, &mut w);
            w.add(
                Action::MakeKey,
                ADMINISTRATOR,
                "The key is made",
                &["Type the label of the new key."],
                Typed::Word(plan.key().label.clone()),
                &[
                    format!("algorithm {}", plan.key().algorithm.as_str()),
                    match plan.key().backup {
                        Backup::Wrapped => "CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE and CKA_LOCAL are true; CKA_EXTRACTABLE, too, until the next step".to_owned(),
                        _ => "CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE and CKA_LOCAL are true".to_owned(),
                    },
                ],
            );
            // Before the key signs anything, so that it signs closed.
            if plan.key().backup == Backup::Wrapped {
                backup(plan, &mut w);
            }
            certificate(plan, &mut w);
            if crl.is_some() {
                revocation(plan, &mut w);
            }
            if plan.key().backup != Backup::Wrapped {
                backup(plan, &mut w);
            }
            split_pin(plan, &mut w);
        }
        Work::Issuing { .. } | Work::Cross { .. } => {
            token(plan, &mut w);
            certificate(plan, &mut w);
        }
        Work::Crl { .. } => {
            token(plan, &mut w);
            revocation(plan, &mut w);
        }
        Work::Restore => {
            token(plan, &mut w);
            let spki = plan.key().spki.map(|s| display_groups(&s)).unwrap_or_default();
            w.add(
                Action::Restore,
                ADMINISTRATOR,
                "The key is restored",
                &["Type the label of the key."],
                Typed::Word(plan.key().label.clone()),
                &[
                    format!("public key (SHA-256): {spki}"),
                    "a test signature verifies".to_owned(),
                ],
            );
            split_pin(plan, &mut w);
        }
        Work::Destroy => {
            token(plan, &mut w);
            w.add(
                Action::Destroy,
                ADMINISTRATOR,
                "The key is destroyed",
                &["There is no way back. Type the label of the key."],
                Typed::Word(plan.key().label.clone()),
                &["the token finds no key of this label or id any more".to_owned()],
            );
        }
    }
    w.add(
        Action::Close,
        ADMINISTRATOR,
        "The token is put away",
        &["Take the token out, seal it in its bag before the camera, and type the number of the bag."],
        Typed::Note("bag number"),
        &["witness and administrator read the same number".to_owned()],
    );
    w.steps
}

fn opening(plan: &Plan, w: &mut Writer) {
    w.add(
        Action::Present,
        ADMINISTRATOR,
        "People sign in",
        &["Everybody writes name, role and time on the last sheet and shows an identity card to the witness. Type the names."],
        Typed::Note("names"),
        &[format!("{} officers at least", plan.quorum().required)],
    );
    let first: String = plan.sha256().to_string().chars().take(8).collect();
    w.add(
        Action::Plan,
        WITNESS,
        "The plan is the one on paper",
        &["Compare the hash on the screen with the one at the foot of this sheet, and type its first eight digits from the paper."],
        Typed::Digits(Some(first)),
        &[display_groups(&plan.sha256())],
    );
    let mut sees = vec!["no network interface is up".to_owned()];
    if let Some(binary) = plan.binary() {
        sees.push(format!("ca-cli: {}", display_groups(&binary)));
    }
    w.add(
        Action::Machine,
        WITNESS,
        "The machine is the one that was approved",
        &["Look at the machine: no cable, no radio. Compare the hash of the program."],
        Typed::Enter,
        &sees,
    );
    if !plan.inputs().is_empty() {
        let sees: Vec<String> = plan
            .inputs()
            .iter()
            .map(|i| format!("{} ({}): {}", i.name, i.file, display_groups(&i.sha256)))
            .collect();
        w.add(
            Action::Inputs,
            WITNESS,
            "What goes in is what was planned",
            &["Compare the hash of every file."],
            Typed::Enter,
            &sees,
        );
    }
    let officers: Vec<&str> = plan.quorum().officers.iter().map(|o| o.role.as_str()).collect();
    w.add(
        Action::Approvals,
        WITNESS,
        "The quorum has approved",
        &["Compare each name with the person."],
        Typed::Enter,
        &[format!("{} of {}", plan.quorum().required, officers.join(", "))],
    );
}

fn token(plan: &Plan, w: &mut Writer) {
    let mut sees = vec![format!("token serial {}", plan.token().serial)];
    match plan.work() {
        Work::Root { .. } | Work::Restore => sees.push(format!("no key `{}` on it", plan.key().label)),
        _ => {
            if let Some(spki) = plan.key().spki {
                sees.push(format!("key `{}`: {}", plan.key().label, display_groups(&spki)));
            }
        }
    }
    // A new token has the PIN of whoever prepared it.
    let shares = plan.quorum().split_pin && !matches!(plan.work(), Work::Root { .. } | Work::Restore);
    w.add(
        Action::Token,
        ADMINISTRATOR,
        "The token is put in",
        &[if shares {
            "Take the token out of its bag before the camera, and put it in. Officers type their shares of its PIN."
        } else {
            "Take the token out of its bag before the camera, put it in, and type its PIN."
        }],
        Typed::Secret(if shares { "shares of the PIN" } else { "PIN" }),
        &sees,
    );
}

fn certificate(plan: &Plan, w: &mut Writer) {
    let Some(wanted) = plan.work().certificate() else {
        return;
    };
    w.add(
        Action::ReviewCertificate,
        WITNESS,
        "The certificate, before anything is signed",
        &["Read every line aloud and compare it with the plan. No lint has a finding."],
        Typed::Word("as planned".to_owned()),
        &[
            format!("organization: {}", wanted.organization),
            format!("common name: {}", wanted.common_name),
            format!("serial: {}", wanted.serial.hex()),
            format!("begins {}", crate::calendar::show(wanted.not_before)),
            format!("ends {}", crate::calendar::show(wanted.not_after)),
        ],
    );
    w.add(
        Action::SignCertificate,
        ADMINISTRATOR,
        "The token signs the certificate",
        &["Type the word."],
        Typed::Word("sign".to_owned()),
        &["the signature verifies; the bytes are those that were read aloud".to_owned()],
    );
    w.add(
        Action::CompareCertificate,
        WITNESS,
        "The fingerprint, on two displays",
        &["Take the hash of outputs/certificate.cer on a second device, and type its first eight digits from there."],
        Typed::Digits(None),
        &["both displays show the same".to_owned()],
    );
}

fn split_pin(plan: &Plan, w: &mut Writer) {
    if plan.quorum().split_pin {
        w.add(
            Action::SplitPin,
            ADMINISTRATOR,
            "The token's PIN is drawn and split",
            &[
                "A PIN that nobody knows is drawn and split; each officer in turn gets a sheet, unseen by the others.",
                "Type the word; then officers type their sheets, to show that they can be read.",
            ],
            Typed::Word("split".to_owned()),
            &[
                format!(
                    "{} of {} shares entered",
                    plan.quorum().required,
                    plan.quorum().required
                ),
                "the token takes its new PIN".to_owned(),
            ],
        );
    }
}

fn revocation(plan: &Plan, w: &mut Writer) {
    let Some(wanted) = plan.work().crl() else { return };
    let mut sees = vec![
        format!("CRL number {}", wanted.number),
        format!("of {}", crate::calendar::show(wanted.this_update)),
        format!("next one due {}", crate::calendar::show(wanted.next_update)),
        format!("{} revoked", wanted.revoked.len()),
    ];
    for line in &wanted.revoked {
        sees.push(format!(
            "revoked: {} since {} ({})",
            line.serial.hex(),
            crate::calendar::show(line.at),
            line.reason.as_str()
        ));
    }
    w.add(
        Action::ReviewCrl,
        WITNESS,
        "The CRL, before anything is signed",
        &["Read every line aloud and compare it with the plan. No lint has a finding."],
        Typed::Word("as planned".to_owned()),
        &sees,
    );
    w.add(
        Action::SignCrl,
        ADMINISTRATOR,
        "The token signs the CRL",
        &["Type the word."],
        Typed::Word("sign".to_owned()),
        &["the signature verifies; the bytes are those that were read aloud".to_owned()],
    );
    w.add(
        Action::CompareCrl,
        WITNESS,
        "The fingerprint, on two displays",
        &["Take the hash of outputs/ca.crl on a second device, and type its first eight digits from there."],
        Typed::Digits(None),
        &["both displays show the same".to_owned()],
    );
}

fn backup(plan: &Plan, w: &mut Writer) {
    match plan.key().backup {
        Backup::None => {}
        Backup::Vendor => w.add(
            Action::VendorBackup,
            ADMINISTRATOR,
            "The backup, by the vendor's procedure",
            &["Perform the vendor's procedure. Type where the backup goes and the numbers of its bags."],
            Typed::Note("backup"),
            &["as the vendor's procedure says".to_owned()],
        ),
        Backup::Wrapped => w.add(
            Action::WrappedBackup,
            ADMINISTRATOR,
            "The backup, wrapped",
            &[
                "A wrapping key is drawn and split; each officer in turn gets a sheet, unseen by the others.",
                "Type the word; then officers type their sheets, to show that they can be read.",
            ],
            Typed::Word("back up".to_owned()),
            &[
                format!(
                    "{} of {} shares entered",
                    plan.quorum().required,
                    plan.quorum().required
                ),
                "CKA_EXTRACTABLE is false".to_owned(),
            ],
        ),
    }
}
