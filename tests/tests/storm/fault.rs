//! What goes wrong, one thing in each trial.

use device_kit::proxy::Cut;
use device_kit::rig::Order;

use failpoint::Point;

use crate::kill::again;
use device_kit::dice::Dice;

/// Values of `CKR_`: a general error, a device error, no memory on the host, a session that is not, no token.
const REFUSALS: [u32; 5] = [0x05, 0x30, 0x02, 0xb3, 0xe0];
/// Longer than the deadline of signatures in the storm's configuration.
pub(crate) const TOO_LATE: u32 = 1400;

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// SIGKILL after so many calls were sent, and so many microseconds later.
    Strike(usize, u64),
    /// The token does this at one signature, after so many others.
    Token(usize, Order),
    /// The connection to PostgreSQL ends at a COMMIT, after so many others.
    Cut(usize, Cut),
    /// All connections to PostgreSQL end after so many calls were sent.
    CutAll(usize),
    /// One of three servers is killed at this fail-point, after so many came by it.
    Point(Point, u64),
    /// SIGKILL for all of three at once, as for one.
    StrikeAll(usize, u64),
}

/// The points that three servers come by in a trial, whose responder stays and who publish no delta CRLs.
fn of_three() -> Vec<Point> {
    let absent = |point: &Point| {
        ["delegate.", "delta.", "orphan."]
            .iter()
            .any(|begin| point.name().starts_with(begin))
    };
    again().into_iter().filter(|point| !absent(point)).collect()
}

impl Fault {
    /// What a throw gives. Half of all faults kill; of three servers, one of whom it is, or all at once.
    pub(crate) fn drawn(dice: &mut Dice, proxied: bool, servers: usize) -> Self {
        if servers > 1 {
            match dice.throw(12) {
                0..4 => return Self::Point(dice.one(&of_three()), dice.throw(2)),
                4 => return Self::StrikeAll(1 + dice.below(8), dice.throw(20_000)),
                _ => {}
            }
        }
        // Each of three servers sees a third of the work.
        let pass = dice.below(6 / servers);
        let token = |order| Self::Token(pass, order);
        match dice.throw(if proxied { 20 } else { 16 }) {
            0..5 => Self::Strike(1 + dice.below(8), dice.throw(20_000)),
            5..7 => token(Order::KillAtEntry),
            7..9 => token(Order::KillAtReturn),
            9 => token(Order::Fail(dice.one(&REFUSALS))),
            10 => token(Order::Unknown(dice.one(&REFUSALS))),
            11 => token(Order::Flip(u32::try_from(dice.throw(560)).unwrap())),
            12 => token(dice.one(&[Order::Short, Order::Empty])),
            13 => token(Order::Delay(TOO_LATE)),
            14 => token(Order::Late(TOO_LATE)),
            15 => token(Order::Lose),
            16 | 17 => Self::Cut(dice.below(12 / servers), Cut::Before),
            18 => Self::Cut(dice.below(12 / servers), Cut::After),
            _ => Self::CutAll(1 + dice.below(6)),
        }
    }

    /// Whether the server lives through it without a person.
    pub(crate) fn spares(self) -> bool {
        match self {
            Self::Strike(..) | Self::StrikeAll(..) | Self::Point(..) => false,
            Self::Token(_, order) => matches!(
                order,
                Order::Fail(_) | Order::Unknown(_) | Order::Delay(_) | Order::Late(_) | Order::Lose
            ),
            Self::Cut(..) | Self::CutAll(_) => true,
        }
    }

    /// The rows of the catalogue that it plays.
    pub(crate) fn rows(word: &str) -> &'static str {
        match word {
            "kill-anywhere" | "kill-at-a-point" | "kill-all-at-once" => "F01, S01",
            "kill-before-signature" | "kill-after-signature" => "F02, S01",
            "token-flips-a-bit" => "F12, H03",
            "token-answers-short" | "token-answers-nothing" => "F12",
            "token-loses-the-session" => "F11, H05, H06",
            "database-cut-before-commit" | "database-cut-after-commit" => "F03",
            "database-cut-anywhere" => "F08",
            _ => "F11",
        }
    }

    /// A word for the report.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Strike(..) => "kill-anywhere",
            Self::Token(_, order) => match order {
                Order::KillAtEntry => "kill-before-signature",
                Order::KillAtReturn => "kill-after-signature",
                Order::Fail(_) => "token-refuses",
                Order::Unknown(_) => "token-signs-and-says-error",
                Order::Flip(_) => "token-flips-a-bit",
                Order::Short => "token-answers-short",
                Order::Empty => "token-answers-nothing",
                Order::Delay(_) | Order::Late(_) => "token-is-late",
                Order::Lose => "token-loses-the-session",
            },
            Self::Cut(_, Cut::Before) => "database-cut-before-commit",
            Self::Cut(_, Cut::After) => "database-cut-after-commit",
            Self::CutAll(_) => "database-cut-anywhere",
            Self::Point(..) => "kill-at-a-point",
            Self::StrikeAll(..) => "kill-all-at-once",
        }
    }
}
