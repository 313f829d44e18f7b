//! The way from a leaf to the root: drawn, and told beside the picture.

use ledger::{Hash, Step};
use maud::{Markup, html};

use crate::frame::hash;

/// A box, in units of the picture. It is never drawn larger, and hardly smaller, so that its letters can be read on a phone.
const BOX: (usize, usize) = (114, 42);
/// From one row to the next.
const ROW: usize = 70;
/// Where the left and the right box of a row begin, and the root's.
const AT: [usize; 3] = [4, 130, 67];
/// How wide the picture is.
const WIDE: usize = 248;

/// Which leaves a node stands for: the first, and behind the last.
type Span = (u64, u64);

fn of_span((first, end): Span) -> String {
    if end - first == 1 {
        return format!("leaf {first}");
    }
    let text = format!("{first}–{}", end - 1);
    if text.chars().count() <= 15 {
        text
    } else {
        format!("{} leaves", end - first)
    }
}

/// In words.
fn in_words((first, end): Span) -> String {
    if end - first == 1 {
        format!("leaf {first}")
    } else {
        format!("leaves {first} to {}", end - 1)
    }
}

/// The hash of a leaf and the steps up from it.
pub(crate) struct Way<'a> {
    pub(crate) index: u64,
    pub(crate) leaf: Hash,
    pub(crate) steps: &'a [Step],
}

impl Way<'_> {
    /// For each step: the node that is reached, and what is added to it.
    fn below(&self) -> Vec<(Hash, Span, Hash, Span)> {
        let mut here = (self.leaf, (self.index, self.index + 1));
        let each = self.steps.iter().map(|step| {
            let (node, (first, end)) = here;
            let beside = if step.left {
                (step.first, first)
            } else {
                (end, step.end)
            };
            here = (step.result, (step.first, step.end));
            (node, (first, end), step.sibling, beside)
        });
        each.collect()
    }

    fn root(&self) -> (Hash, Span) {
        let own = (self.leaf, (self.index, self.index + 1));
        self.steps
            .last()
            .map_or(own, |step| (step.result, (step.first, step.end)))
    }

    /// The picture: the root above, the leaf below; the way between them in colour.
    pub(crate) fn drawn(&self) -> Markup {
        let below = self.below();
        let rows = below.len();
        let high = rows * ROW + BOX.1 + 8;
        let (root, span) = self.root();
        // From the root down, with the place of the node above on the way.
        let mut above = 2;
        let levels: Vec<_> = below
            .iter()
            .zip(self.steps)
            .rev()
            .enumerate()
            .map(|(row, (nodes, step))| {
                let mine = usize::from(step.left);
                let from = core::mem::replace(&mut above, mine);
                (row, from, mine, nodes)
            })
            .collect();
        html! {
            svg .tree viewBox={ "0 0 " (WIDE) " " (high) } role="img" aria-labelledby="tree-title" {
                title #tree-title {
                    "Merkle path from leaf " (self.index) " up to the root in " (rows)
                    " steps. The list of steps says the same."
                }
                @for (row, from, mine, _) in &levels {
                    @for side in [1 - mine, *mine] {
                        path .(if side == *mine { "way" } else { "edge" }) d=(edge(*row, *from, side)) {}
                    }
                }
                (node(2, 0, &root, &of_span(span), true))
                @for (row, _, mine, (own, span, other, beside)) in &levels {
                    (node(1 - mine, row + 1, other, &of_span(*beside), false))
                    (node(*mine, row + 1, own, &of_span(*span), true))
                }
            }
        }
    }

    /// The steps in words, every hash whole.
    pub(crate) fn told(&self) -> Markup {
        html! {
            ol .steps {
                li {
                    h3 { "The leaf" }
                    p .what { "SHA-256 of a zero octet and the entry: " code { "00 ‖ entry" } }
                    p { (hash(&self.leaf)) }
                }
                @for (place, (step, (_, _, sibling, beside))) in self.steps.iter().zip(self.below()).enumerate() {
                    li {
                        h3 { "Step " (place + 1) ": " (in_words(beside)) " on the " (if step.left { "left" } else { "right" }) }
                        p { (hash(&sibling)) }
                        p .what {
                            "gives " (in_words((step.first, step.end)))
                            @if place + 1 == self.steps.len() { ", the root" }
                            ": " code { (if step.left { "01 ‖ left ‖ own" } else { "01 ‖ own ‖ right" }) }
                        }
                        p { (hash(&step.result)) }
                    }
                }
            }
        }
    }
}

fn edge(row: usize, from: usize, side: usize) -> String {
    let middle = |at: usize| AT.get(at).map_or(0, |x| x + BOX.0 / 2);
    let (top, end) = (4 + row * ROW + BOX.1, 4 + (row + 1) * ROW);
    let half = usize::midpoint(top, end);
    format!("M{} {top}V{half}H{}V{end}", middle(from), middle(side))
}

fn node(side: usize, row: usize, of: &Hash, words: &str, mine: bool) -> Markup {
    let (x, y) = (AT.get(side).copied().unwrap_or_default(), 4 + row * ROW);
    let short = hex::encode(of.get(..4).unwrap_or_default());
    let middle = x + BOX.0 / 2;
    html! {
        rect .mine[mine] x=(x) y=(y) width=(BOX.0) height=(BOX.1) rx="8" {}
        text x=(middle) y=(y + 18) text-anchor="middle" { (short) "…" }
        text .small x=(middle) y=(y + 34) text-anchor="middle" { (words) }
    }
}
