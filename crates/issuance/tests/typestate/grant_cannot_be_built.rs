//! Only a decision or an approved ceremony makes it.
fn forged(like: policies::Grant) -> policies::Grant {
    policies::Grant { rehearsal: false, ..like }
}

fn main() {}
