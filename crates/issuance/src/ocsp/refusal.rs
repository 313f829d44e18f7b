//! Answers that are not signed (RFC 6960 §4.2.1).

/// Why there is no answer. Unsigned, so nobody may conclude anything about a certificate from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OcspRefusal {
    /// The request is not one (1).
    MalformedRequest,
    /// Something here is broken (2).
    InternalError,
    /// Ask again later (3).
    TryLater,
    /// This responder does not speak for that certificate (6): another CA's, or not on record here (RFC 9919).
    Unauthorized,
}

impl OcspRefusal {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::MalformedRequest,
        Self::InternalError,
        Self::TryLater,
        Self::Unauthorized,
    ];

    /// OCSPResponse, DER.
    #[must_use]
    pub const fn der(self) -> &'static [u8] {
        match self {
            Self::MalformedRequest => b"\x30\x03\x0a\x01\x01",
            Self::InternalError => b"\x30\x03\x0a\x01\x02",
            Self::TryLater => b"\x30\x03\x0a\x01\x03",
            Self::Unauthorized => b"\x30\x03\x0a\x01\x06",
        }
    }

    /// Its name in the RFC.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformedRequest",
            Self::InternalError => "internalError",
            Self::TryLater => "tryLater",
            Self::Unauthorized => "unauthorized",
        }
    }

    pub(super) fn read(der: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.der() == der)
    }
}
