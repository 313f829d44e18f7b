//! What the clock and the counters of one TPM can do between two attestations, and what they cannot (TPM 2.0 Part 1, 36;
//! Part 2, 10.11.1).

use super::TpmsClockInfo;

/// A TPM writes its clock to non-volatile memory at least this often: milliseconds (Part 1, 36.3.2). After a loss of power
/// without `TPM2_Shutdown` it goes on from there, and says so with `safe` = NO.
pub const NV_INTERVAL: u64 = 1 << 22;

/// A TPM's clock may run a third too fast or too slow (`TPM2_ClockRateAdjust`); twice is beyond all of them.
const FASTEST: u64 = 2;

/// How an attestation follows the one before it, of the same attestation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follows {
    /// Later, or in the same millisecond.
    Later,
    /// Perhaps earlier: asked for before the one before was taken, and not further back than that lies.
    Overtaken,
    /// Not in the life of one TPM.
    Not(WentBack),
}

/// What went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WentBack {
    /// The clock, since the same start.
    #[error("the clock went back by {by} ms since the same start")]
    Clock {
        /// Milliseconds.
        by: u64,
    },
    /// Restarts or resumes, since the same reset.
    #[error("restartCount went back by {by} since the same reset")]
    Restarts {
        /// How many.
        by: u32,
    },
    /// Resets. A `TPM2_Clear` does this too, when the key survives it.
    #[error("resetCount went back by {by}")]
    Resets {
        /// How many.
        by: u32,
    },
    /// Resets or restarts went on, and the clock went back by more than a loss of power explains: two TPMs count from one
    /// past.
    #[error("the counters went on, and the clock back by {by} ms{}", if *safe { ", which the TPM calls safe" } else { "" })]
    Forked {
        /// Milliseconds.
        by: u64,
        /// Whether the TPM says that it never reported a larger clock.
        safe: bool,
    },
}

impl TpmsClockInfo {
    /// Judge this attestation after `before`, of the same attestation key: resets and restarts are obfuscated by numbers
    /// that are constant for a key, so only the wrapped differences of one key mean anything.
    ///
    /// `overlap`: milliseconds between the moment this attestation was asked for and the later moment when `before` was
    /// taken; `None` when it was asked for afterwards, and so was made afterwards. An overtaken one can lie back by as much.
    #[must_use]
    pub fn follows(&self, before: &Self, overlap: Option<u64>) -> Follows {
        let back = before.clock.saturating_sub(self.clock);
        let Some(what) = self.went_back(before, back) else {
            return Follows::Later;
        };
        match overlap {
            Some(overlap) if back <= overlap.saturating_mul(FASTEST) && self.clock <= before.clock => {
                Follows::Overtaken
            }
            _ => Follows::Not(what),
        }
    }

    fn went_back(&self, before: &Self, back: u64) -> Option<WentBack> {
        let resets = self.reset_count.wrapping_sub(before.reset_count);
        let restarts = self.restart_count.wrapping_sub(before.restart_count);
        match (step(resets), step(restarts)) {
            (Step::Back(by), _) => Some(WentBack::Resets { by }),
            // A loss of power is a reset, never a restart or a resume: the clock was saved for those.
            (Step::Same, Step::Back(by)) => Some(WentBack::Restarts { by }),
            (Step::Same, Step::Same) if back > 0 => Some(WentBack::Clock { by: back }),
            (Step::Same, Step::On) if back > 0 => Some(WentBack::Forked {
                by: back,
                safe: self.safe,
            }),
            // Restarts are counted anew after a reset.
            (Step::On, _) if back > if self.safe { 0 } else { NV_INTERVAL } => Some(WentBack::Forked {
                by: back,
                safe: self.safe,
            }),
            _ => None,
        }
    }
}

/// Which way a counter went, by the sign of the wrapped difference.
enum Step {
    Same,
    On,
    Back(u32),
}

fn step(difference: u32) -> Step {
    match difference {
        0 => Step::Same,
        d if d < 1 << 31 => Step::On,
        d => Step::Back(d.wrapping_neg()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(clock: u64, reset_count: u32, restart_count: u32) -> TpmsClockInfo {
        TpmsClockInfo {
            clock,
            reset_count,
            restart_count,
            safe: true,
        }
    }

    fn unsafe_at(clock: u64, reset_count: u32, restart_count: u32) -> TpmsClockInfo {
        TpmsClockInfo {
            safe: false,
            ..at(clock, reset_count, restart_count)
        }
    }

    const BEFORE: TpmsClockInfo = TpmsClockInfo {
        clock: 10_000_000,
        reset_count: 7,
        restart_count: 3,
        safe: true,
    };

    fn judge(next: TpmsClockInfo) -> Follows {
        next.follows(&BEFORE, None)
    }

    #[test]
    fn one_start() {
        assert_eq!(judge(at(10_000_001, 7, 3)), Follows::Later);
        assert_eq!(judge(BEFORE), Follows::Later, "the same millisecond");
        let back = Follows::Not(WentBack::Clock { by: 1 });
        assert_eq!(judge(at(9_999_999, 7, 3)), back);
        // Within one start nothing is restored, so that it is not safe explains nothing.
        assert_eq!(judge(unsafe_at(9_999_999, 7, 3)), back);
        assert_eq!(judge(unsafe_at(10_000_001, 7, 3)), Follows::Later);
    }

    #[test]
    fn a_restart_or_resume_saved_the_clock() {
        assert_eq!(judge(at(10_000_000, 7, 4)), Follows::Later);
        for safe in [true, false] {
            let next = TpmsClockInfo {
                safe,
                ..at(9_999_999, 7, 4)
            };
            assert_eq!(judge(next), Follows::Not(WentBack::Forked { by: 1, safe }));
        }
        assert_eq!(judge(at(99_000_000, 7, 2)), Follows::Not(WentBack::Restarts { by: 1 }));
    }

    #[test]
    fn a_reset_counts_restarts_anew_and_may_lose_as_much_clock_as_it_admits() {
        assert_eq!(judge(at(10_000_000, 8, 0)), Follows::Later);
        assert_eq!(judge(at(10_000_000, 9, 1)), Follows::Later);
        // It says it never reported more, and it did.
        let forked = |by, safe| Follows::Not(WentBack::Forked { by, safe });
        assert_eq!(judge(at(9_999_999, 8, 0)), forked(1, true));
        assert_eq!(judge(unsafe_at(10_000_000 - NV_INTERVAL, 8, 0)), Follows::Later);
        assert_eq!(
            judge(unsafe_at(10_000_000 - NV_INTERVAL - 1, 8, 0)),
            forked(NV_INTERVAL + 1, false)
        );
        // However often the power went: each time it goes on from what is in NV.
        assert_eq!(judge(unsafe_at(10_000_000 - NV_INTERVAL, 900, 0)), Follows::Later);
    }

    #[test]
    fn resets_do_not_go_back_whatever_else_does() {
        for next in [at(99_000_000, 6, 3), unsafe_at(0, 6, 9)] {
            assert_eq!(judge(next), Follows::Not(WentBack::Resets { by: 1 }));
        }
        // A clear, where the key survives it.
        assert_eq!(judge(at(0, 0, 0)), Follows::Not(WentBack::Resets { by: 7 }));
    }

    #[test]
    fn counters_are_obfuscated_and_wrap() {
        let before = at(10, u32::MAX, u32::MAX);
        assert_eq!(at(11, u32::MAX, 0).follows(&before, None), Follows::Later);
        assert_eq!(at(11, 0, 17).follows(&before, None), Follows::Later);
        assert_eq!(
            before.follows(&at(9, 0, 17), None),
            Follows::Not(WentBack::Resets { by: 1 })
        );
        assert_eq!(
            before.follows(&at(9, u32::MAX, 0), None),
            Follows::Not(WentBack::Restarts { by: 1 })
        );
        // Half way round is no step forward.
        let half = at(11, u32::MAX.wrapping_add(1 << 31), 0);
        assert_eq!(
            half.follows(&before, None),
            Follows::Not(WentBack::Resets { by: 1 << 31 })
        );
        // The clock does not wrap: it would take 584 million years, and TPM2_ClockSet stops before.
        let end = at(u64::MAX, 1, 1);
        assert_eq!(end.follows(&at(u64::MAX, 1, 1), None), Follows::Later);
        assert_eq!(
            at(0, 1, 1).follows(&end, None),
            Follows::Not(WentBack::Clock { by: u64::MAX })
        );
    }

    #[test]
    fn an_answer_that_was_overtaken_lies_back_by_what_it_was_overtaken_by() {
        let next = at(9_998_000, 7, 3);
        assert_eq!(next.follows(&BEFORE, Some(1_000)), Follows::Overtaken);
        assert_eq!(
            next.follows(&BEFORE, Some(999)),
            Follows::Not(WentBack::Clock { by: 2_000 })
        );
        // The device was reset meanwhile, after it had sent its answer.
        assert_eq!(at(9_999_000, 6, 3).follows(&BEFORE, Some(1_000)), Follows::Overtaken);
        assert_eq!(at(9_999_000, 7, 2).follows(&BEFORE, Some(1_000)), Follows::Overtaken);
        // Overtaken is not ahead: resets back and the clock forward are two TPMs.
        assert_eq!(
            at(10_000_001, 6, 3).follows(&BEFORE, Some(1_000)),
            Follows::Not(WentBack::Resets { by: 1 })
        );
        assert_eq!(at(10_000_001, 7, 3).follows(&BEFORE, Some(1_000)), Follows::Later);
    }

    #[test]
    fn what_it_says() {
        let told = |what: WentBack| what.to_string();
        assert_eq!(
            told(WentBack::Clock { by: 5 }),
            "the clock went back by 5 ms since the same start"
        );
        assert_eq!(
            told(WentBack::Forked { by: 5, safe: true }),
            "the counters went on, and the clock back by 5 ms, which the TPM calls safe"
        );
        assert_eq!(
            told(WentBack::Forked { by: 5, safe: false }),
            "the counters went on, and the clock back by 5 ms"
        );
    }
}
