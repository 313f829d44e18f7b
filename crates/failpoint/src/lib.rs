//! Places at which a development build dies, waits or fails on command, so that a test can do it at each of them.
//!
//! The command stands in the environment when the process starts, one or more orders with commas between them:
//!
//! ```text
//! HOLDFAST_FAILPOINT=corridor.signed:kill        the first time anybody comes by
//! HOLDFAST_FAILPOINT=issue.committed:kill:3      the fourth time
//! HOLDFAST_FAILPOINT=crl.drafted:pause=1500      wait so many milliseconds
//! HOLDFAST_FAILPOINT=record.commit:error         fail as the storage might
//! HOLDFAST_FAILPOINT=crl.taken:panic             panic, as a defect would
//! HOLDFAST_FAILPOINT=*:kill:40                   wherever the process is the 41st time it comes by any of them
//! ```
//!
//! An order is carried out once, and said on standard error first. Where debug assertions are off (a release build) there
//! is neither a name nor a look at the environment: [`reach`] and [`pass`] are empty (`tests/tests/storm/points.rs` looks).
//!
//! The crate `fail` was looked at: it is switched by a feature, so binaries under test would be built twice or a release
//! would have to unset it, it ends a process by panic only, and its registry is a lock at each point.

/// A storage error by order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injected(
    #[cfg(debug_assertions)] (),
    #[cfg(not(debug_assertions))] core::convert::Infallible,
);

impl core::fmt::Display for Injected {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("by order")
    }
}

macro_rules! points {
    ($($(#[$meaning:meta])+ $point:ident $name:literal)+) => {
        /// A place between two steps.
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(debug_assertions, derive(Debug))]
        pub enum Point {
            $($(#[$meaning])+ $point,)+
        }

        #[cfg(debug_assertions)]
        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$point,)+];

            /// How an order calls it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// Start: the token is open, the record is not.
    StartToken "start.token"
    /// Start: before one migration of the tables.
    StartMigrate "start.migrate"
    /// Start: the record is open.
    StartStore "start.store"
    /// Start: what a crash left was looked for.
    StartRecovered "start.recovered"
    /// Start: the responder has its certificate, or will get it later.
    StartDelegate "start.delegate"
    /// Start: it listens, and has not said so.
    StartReady "start.ready"

    /// A question for a challenge came in.
    BeginAsked "begin.asked"
    /// The challenge is made, and not told.
    BeginMade "begin.made"
    /// An answer to a challenge came in.
    ActivateAsked "activate.asked"
    /// It is proven; nothing is decided.
    ActivateProven "activate.proven"
    /// Certificates are there, and not told.
    ActivateDone "activate.done"

    /// Drafted and linted; nothing is written.
    CorridorLinted "corridor.linted"
    /// T1 is done, as its request knows; the token was not asked.
    CorridorRecorded "corridor.recorded"
    /// The token signed, and its signature was verified; nothing is written.
    CorridorSigned "corridor.signed"
    /// T2 is done, as its request knows.
    CorridorIssued "corridor.issued"

    /// A certificate was shown for renewal.
    RenewalAsked "renewal.asked"
    /// The renewal's challenge is made, and not told.
    RenewalMade "renewal.made"
    /// The answer of its TPM is proven; nothing is decided.
    RenewalProven "renewal.proven"
    /// The renewed certificate is there, and not told.
    RenewalDone "renewal.done"

    /// T1 is written; COMMIT comes.
    RecordCommit "record.commit"
    /// T1 is durable; nobody knows.
    RecordCommitted "record.committed"
    /// T2 is written; COMMIT comes.
    IssueCommit "issue.commit"
    /// T2 is durable; nobody knows.
    IssueCommitted "issue.committed"
    /// A step of a revocation is written; COMMIT comes.
    RevokeCommit "revoke.commit"
    /// It is durable; nobody knows.
    RevokeCommitted "revoke.committed"
    /// Open intents are orphans; COMMIT comes.
    OrphanCommit "orphan.commit"
    /// They are, durably; nobody knows.
    OrphanCommitted "orphan.committed"
    /// Any other change is written; COMMIT comes.
    ChangeCommit "change.commit"
    /// It is durable; nobody knows.
    ChangeCommitted "change.committed"

    /// An operator revokes; nothing is written.
    RevokeAsked "revoke.asked"
    /// It is written, and not told.
    RevokeDone "revoke.done"

    /// The job looks whether a CRL is due.
    CrlDue "crl.due"
    /// A CRL has its number; COMMIT comes.
    CrlNumberCommit "crl.number.commit"
    /// It has it, durably, and its entries.
    CrlTaken "crl.taken"
    /// What is about to be signed is written; COMMIT comes.
    CrlDraftCommit "crl.draft.commit"
    /// It is durable; the token was not asked.
    CrlDrafted "crl.drafted"
    /// The token signed.
    CrlSigned "crl.signed"
    /// It stands in the place of the old one; COMMIT comes.
    CrlSwapCommit "crl.swap.commit"
    /// It does, durably; nobody knows.
    CrlSwapCommitted "crl.swap.committed"
    /// It is served.
    CrlShelved "crl.shelved"
    /// The job looks whether a delta CRL is due.
    DeltaDue "delta.due"
    /// A delta CRL stands beside the published one; COMMIT comes.
    DeltaSwapCommit "delta.swap.commit"
    /// It does, durably; nobody knows.
    DeltaSwapCommitted "delta.swap.committed"

    /// What others will see is durable under a name that nobody reads: a CRL, a tile, a checkpoint, an anchor.
    FileWritten "file.written"
    /// It stands under its own name.
    FileReplaced "file.replaced"

    /// The record said where a certificate stands; no answer is signed.
    OcspFound "ocsp.found"
    /// The answer is signed, and not told.
    OcspSigned "ocsp.signed"
    /// The responder's own certificate is an intent.
    DelegateRecorded "delegate.recorded"
    /// It is signed; nothing is written.
    DelegateSigned "delegate.signed"
    /// It is issued; nobody answers with it.
    DelegateIssued "delegate.issued"

    /// Leaves have their places; COMMIT comes.
    LedgerGrowCommit "ledger.grow.commit"
    /// They have, durably; the tree is not signed.
    LedgerGrown "ledger.grown"
    /// A checkpoint is signed; nobody remembers it.
    CheckpointSigned "checkpoint.signed"
    /// It is remembered beside the record.
    CheckpointRemembered "checkpoint.remembered"
    /// Witnesses cosigned it; the record does not have it.
    CheckpointWitnessed "checkpoint.witnessed"
    /// It stands in the place of the old one; COMMIT comes.
    CheckpointSwapCommit "checkpoint.swap.commit"
    /// It does, durably; nobody is shown.
    CheckpointSwapped "checkpoint.swapped"
    /// Its tiles are in the folder; it is not.
    CheckpointTiled "checkpoint.tiled"
    /// It is served.
    CheckpointPublished "checkpoint.published"

    /// How far the record is was read; no anchor says so.
    AnchorTaken "anchor.taken"
    /// The anchor's file says so; the token's may not.
    AnchorFiled "anchor.filed"
    /// All anchors say so.
    AnchorHeld "anchor.held"

    /// The job looks for overdue intents.
    ReconcileLooked "reconcile.looked"

    /// A witness found that a checkpoint continues all it saw; it has not remembered it.
    CosignJudged "cosign.judged"
    /// It remembers it, durably, and has not signed.
    CosignKept "cosign.kept"
    /// It signed, and did not say so.
    CosignSigned "cosign.signed"
}

/// Come by a place at which nothing can fail.
#[inline]
pub fn reach(point: Point) {
    #[cfg(debug_assertions)]
    if orders::due(point) {
        // `error` has no meaning here; whoever ordered it sees on standard error that it was.
    }
    #[cfg(not(debug_assertions))]
    let _ = point;
}

/// Come by a place at which storage may fail.
///
/// # Errors
/// [`Injected`], by order; never in a release build.
#[inline]
pub fn pass(point: Point) -> Result<(), Injected> {
    #[cfg(debug_assertions)]
    if orders::due(point) {
        return Err(Injected(()));
    }
    #[cfg(not(debug_assertions))]
    let _ = point;
    Ok(())
}

/// Where a test keeps the migrations of a version that does not exist yet, in `sqlite` and `postgres` below it: a build that
/// is told so plays the next version. None in a release build.
#[must_use]
pub fn next_migrations() -> Option<std::path::PathBuf> {
    #[cfg(debug_assertions)]
    return std::env::var_os("HOLDFAST_NEXT_MIGRATIONS").map(Into::into);
    #[cfg(not(debug_assertions))]
    None
}

#[cfg(debug_assertions)]
mod orders {
    use std::io::Write as _;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use super::Point;

    /// Where orders stand.
    const VARIABLE: &str = "HOLDFAST_FAILPOINT";

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) enum Kind {
        Kill,
        Pause(u64),
        Error,
        Panic,
    }

    #[derive(Debug)]
    pub(super) struct Order {
        /// None: any.
        point: Option<Point>,
        kind: Kind,
        /// How many more come by unharmed; below zero, it was carried out.
        pass: AtomicI64,
    }

    impl Order {
        /// Whether it is the turn of this order. Once.
        pub(super) fn is_due(&self, point: Point) -> bool {
            self.point.is_none_or(|at| at == point) && self.pass.fetch_sub(1, Ordering::SeqCst) == 0
        }
    }

    static ORDERS: LazyLock<Vec<Order>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        parse(&text).unwrap_or_else(|wrong| {
            say(&format!("{VARIABLE}: {wrong}"));
            std::process::exit(2)
        })
    });

    pub(super) fn parse(text: &str) -> Result<Vec<Order>, String> {
        let order = |text: &str| {
            let mut words = text.split(':');
            let name = words.next().unwrap_or_default();
            let point = Point::ALL.iter().copied().find(|point| point.name() == name);
            let kind = match words.next() {
                Some("kill") => Some(Kind::Kill),
                Some("error") => Some(Kind::Error),
                Some("panic") => Some(Kind::Panic),
                Some(other) => other
                    .strip_prefix("pause=")
                    .and_then(|ms| ms.parse().ok())
                    .map(Kind::Pause),
                None => None,
            };
            let pass = words
                .next()
                .map_or(Some(0), |pass| pass.parse().ok().filter(|n: &i64| *n >= 0));
            match (kind, pass, words.next()) {
                (Some(kind), Some(pass), None) if point.is_some() || name == "*" => Ok(Order {
                    point,
                    kind,
                    pass: AtomicI64::new(pass),
                }),
                _ => Err(format!("no such order: {text}")),
            }
        };
        text.split(',').filter(|text| !text.is_empty()).map(order).collect()
    }

    fn say(text: &str) {
        let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
    }

    /// Carry out what is ordered here; whether it is to fail.
    #[inline(never)]
    #[expect(clippy::panic, reason = "somebody ordered one")]
    pub(super) fn due(point: Point) -> bool {
        let Some(order) = ORDERS.iter().find(|order| order.is_due(point)) else {
            return false;
        };
        say(&format!("failpoint {} {:?}", point.name(), order.kind));
        match order.kind {
            Kind::Kill => loop {
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                std::thread::park_timeout(Duration::from_secs(1));
            },
            Kind::Pause(milliseconds) => {
                std::thread::sleep(Duration::from_millis(milliseconds));
                false
            }
            Kind::Error => true,
            Kind::Panic => panic!("by order"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_told_apart() {
        let names: BTreeSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
    }

    #[test]
    fn an_order_is_carried_out_once_when_its_turn_comes() {
        let orders = orders::parse("corridor.signed:kill:2,*:error:1").unwrap();
        let [signed, any] = orders.as_slice() else {
            panic!("two orders")
        };
        let due: Vec<bool> = (0..5).map(|_| signed.is_due(Point::CorridorSigned)).collect();
        assert_eq!(due, [false, false, true, false, false]);
        assert!(!any.is_due(Point::StartToken) && any.is_due(Point::CrlDue) && !any.is_due(Point::CrlDue));
        assert!(!signed.is_due(Point::CrlDue));
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for text in [
            "corridor.signed",
            "nowhere:kill",
            "*:kill:-1",
            "*:kill:1:1",
            "*:pause",
            "*:pause=x",
            ":kill",
        ] {
            assert!(orders::parse(text).is_err(), "{text}");
        }
        assert!(orders::parse("").unwrap().is_empty());
    }
}
