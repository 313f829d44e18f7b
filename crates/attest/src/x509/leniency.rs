//! The named list of departures from the rules that real certificates need.

/// One departure from DER, RFC 5280 or the TCG EK profile that is accepted because chips in the field carry it, and
/// because what we rely on does not suffer: signatures are over the bytes received, names are compared as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Leniency {
    /// Serial with leading zero octets (STM intermediates). The serial is only ever shown.
    NonMinimalSerial = 1,
    /// Serial that is zero or reads as negative.
    NonPositiveSerial = 1 << 1,
    /// Serial beyond 20 octets (ChromeOS virtual TPMs).
    LongSerial = 1 << 2,
    /// Multi-valued RDN whose SET is not in DER order (Nuvoton). Never re-encoded.
    UnsortedRdn = 1 << 3,
    /// A DEFAULT FALSE that is written out: `critical FALSE`, `cA FALSE` (Intel).
    ExplicitFalse = 1 << 4,
    /// GeneralizedTime for a year before 2050.
    EarlyGeneralizedTime = 1 << 5,
    /// Subject key marked id-RSAES-OAEP with parameters (older Infineon, STM, Nuvoton): an RSA key.
    OaepKey = 1 << 6,
    /// ECDSA signature algorithm with NULL parameters (Intel OnDie).
    EcdsaNullParameters = 1 << 7,
    /// EK certificate whose basicConstraints is missing or not critical: EK profile 2.6 asks for both, earlier ones for
    /// neither, and a certificate without it is not a CA. On CAs it is required and critical.
    LooseLeafConstraints = 1 << 8,
    /// keyUsage with trailing zero bits (Infineon, STM): not the DER form of a named bit list, the same bits.
    UntrimmedKeyUsage = 1 << 9,
}

/// Which departures are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leniencies(u16);

impl Leniencies {
    /// Nothing: what we or our own agents make.
    pub(crate) const NONE: Self = Self(0);
    /// What vendors' certificates need.
    pub(crate) const VENDOR: Self = Self(0x03FF);

    pub(crate) const fn allow(self, leniency: Leniency) -> bool {
        self.0 & leniency as u16 != 0
    }

    #[cfg(test)]
    pub(crate) const fn without(self, leniency: Leniency) -> Self {
        Self(self.0 & !(leniency as u16))
    }
}
