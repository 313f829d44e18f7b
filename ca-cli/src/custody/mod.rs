//! What keeps keys and secrets in a ceremony: the machine, the officers' signatures, shares on paper.

pub(crate) mod guard;
pub(crate) mod officer;
pub(crate) mod shares;
