//! EK certificates as they lie in NV: wrappers, padding, chains (TCG EK Credential Profile, 2.2.1.4 and 2.2.1.5).

use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, ObjectHandle, TpmHandle};
use tss_esapi::interface_types::resource_handles::NvAuth;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::CapabilityData;

use super::{Chip, TpmError, explain};

/// What a blob from NV turned out to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NvCertificate<'a> {
    /// One DER certificate, without wrapper and padding.
    Found(&'a [u8]),
    /// Nothing but padding.
    Empty,
    /// Something else.
    Garbage,
}

/// Take a certificate out of an NV blob: TCG wrapper or OCTET STRING around it, padding of one kind behind it.
#[must_use]
pub fn certificate_in(blob: &[u8]) -> NvCertificate<'_> {
    if is_padding(blob) {
        return NvCertificate::Empty;
    }
    let inner = match blob {
        // TCG PC Client stored certificate: tag 1001, type 0 (full), length; a full certificate may repeat its tag 1002.
        [0x10, 0x01, 0x00, high, low, rest @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            match rest.split_at_checked(length) {
                Some((body, padding)) if is_padding(padding) => body.strip_prefix(&[0x10, 0x02]).unwrap_or(body),
                _ => return NvCertificate::Garbage,
            }
        }
        [0x04, ..] => match element(blob, 0x04) {
            Some((content, _, padding)) if is_padding(padding) => content,
            _ => return NvCertificate::Garbage,
        },
        _ => blob,
    };
    match element(inner, 0x30) {
        Some((content, whole, padding)) if !content.is_empty() && is_padding(padding) => NvCertificate::Found(whole),
        _ => NvCertificate::Garbage,
    }
}

/// Certificates that lie one behind the other (01C00100 and following), up to what is no certificate.
#[must_use]
pub fn certificates_in_row(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some((_, whole, rest)) = element(bytes, 0x30) {
        found.push(whole.to_vec());
        bytes = rest;
    }
    found
}

/// All 00 or all FF; the empty slice as well.
fn is_padding(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0x00) || bytes.iter().all(|b| *b == 0xff)
}

/// The first DER element when it has this tag: content, whole element, rest. Lengths must be minimal (X.690, 10.1).
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, header) = match rest {
        [short @ 0..=0x7f, ..] => (usize::from(*short), 2),
        [0x81, a @ 0x80..=0xff, ..] => (usize::from(*a), 3),
        [0x82, a @ 0x01..=0xff, b, ..] => (usize::from(u16::from_be_bytes([*a, *b])), 4),
        _ => return None,
    };
    let (whole, behind) = bytes.split_at_checked(header + length)?;
    Some((whole.get(header..)?, whole, behind))
}

impl Chip {
    /// NV indices from `first` up to and including `last`.
    pub(super) fn nv_indices(&mut self, first: u32, last: u32) -> Result<Vec<u32>, TpmError> {
        Ok(self
            .handles_from(first)?
            .into_iter()
            .take_while(|handle| (first..=last).contains(handle))
            .collect())
    }

    /// Handles of the kind of `first`, in order, from `first` on.
    pub(super) fn handles_from(&mut self, first: u32) -> Result<Vec<u32>, TpmError> {
        let mut handles = Vec::new();
        let mut next = first;
        loop {
            let (data, more) = self
                .context
                .execute_without_session(|c| c.get_capability(CapabilityType::Handles, next, 254))
                .map_err(|e| explain(e, "listing handles"))?;
            let CapabilityData::Handles(list) = data else {
                return Err(TpmError::Malformed {
                    what: "the handle list",
                });
            };
            let page: Vec<u32> = list.iter().map(|handle| u32::from(*handle)).collect();
            let Some(last) = page.last().copied() else {
                return Ok(handles);
            };
            handles.extend(page);
            match last.checked_add(1) {
                Some(following) if more => next = following,
                _ => return Ok(handles),
            }
        }
    }

    /// The content of an NV index; `None` when there is none or it was never written.
    pub(super) fn read_nv(&mut self, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
        if self.nv_indices(index, index)?.is_empty() {
            return Ok(None);
        }
        let during = "reading NV";
        let tpm_handle = NvIndexTpmHandle::new(index).map_err(|e| explain(e, during))?;
        let mut object = self
            .context
            .execute_without_session(|c| c.tr_from_tpm_public(TpmHandle::NvIndex(tpm_handle)))
            .map_err(|e| explain(e, during))?;
        let content = self.read_nv_object(object);
        // The ESYS object is only a memory of ours: nothing is lost when closing it fails.
        let _ = self.context.tr_close(&mut object);
        content
    }

    fn read_nv_object(&mut self, object: ObjectHandle) -> Result<Option<Vec<u8>>, TpmError> {
        let during = "reading NV";
        let nv = NvIndexHandle::from(object);
        let (public, _) = self
            .context
            .execute_without_session(|c| c.nv_read_public(nv))
            .map_err(|e| explain(e, during))?;
        if !public.attributes().written() {
            return Ok(None);
        }
        let auth = if public.attributes().auth_read() {
            NvAuth::NvIndex(nv)
        } else {
            NvAuth::Owner
        };
        let step = tss_esapi::abstraction::nv::max_nv_buffer_size(&mut self.context).map_err(|e| explain(e, during))?;
        let step = u16::try_from(step.min(512)).unwrap_or(512);
        let size = u16::try_from(public.data_size()).map_err(|_| TpmError::Malformed { what: "an NV size" })?;
        let mut content = Vec::with_capacity(usize::from(size));
        let mut offset = 0_u16;
        while offset < size {
            let length = step.min(size - offset);
            let part = self
                .context
                .execute_with_session(Some(AuthSession::Password), |c| c.nv_read(auth, nv, length, offset))
                .map_err(|e| explain(e, during))?;
            if part.len() != usize::from(length) {
                return Err(TpmError::Malformed { what: "an NV read" });
            }
            content.extend_from_slice(&part);
            offset += length;
        }
        Ok(Some(content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(length: u16) -> Vec<u8> {
        let mut der = vec![0x30, 0x82];
        der.extend(length.to_be_bytes());
        der.extend((0..length).map(|i| i.to_le_bytes()[0]));
        der
    }

    #[test]
    fn plain_padded_and_wrapped_certificates_are_found_exactly() {
        let der = certificate(700);
        assert_eq!(certificate_in(&der), NvCertificate::Found(&der));
        for padding in [0x00, 0xff] {
            let mut blob = der.clone();
            blob.resize(1600, padding);
            assert_eq!(certificate_in(&blob), NvCertificate::Found(&der));
        }
        for (tag, length) in [(&[][..], 704_u16), (&[0x10, 0x02][..], 706)] {
            let mut blob = vec![0x10, 0x01, 0x00];
            blob.extend(length.to_be_bytes());
            blob.extend(tag);
            blob.extend(&der);
            assert_eq!(certificate_in(&blob), NvCertificate::Found(&der));
            blob.resize(1024, 0xff);
            assert_eq!(certificate_in(&blob), NvCertificate::Found(&der));
        }
        let mut octets = vec![0x04, 0x82, 0x02, 0xc0];
        octets.extend(&der);
        octets.extend([0; 9]);
        assert_eq!(certificate_in(&octets), NvCertificate::Found(&der));
    }

    #[test]
    fn padding_that_is_not_uniform_is_refused() {
        let mut blob = certificate(700);
        blob.extend([0xff, 0xff, 0x00]);
        assert_eq!(certificate_in(&blob), NvCertificate::Garbage);
        // The very same blob with one byte changed is taken.
        let last = blob.len() - 1;
        blob[last] = 0xff;
        assert!(matches!(certificate_in(&blob), NvCertificate::Found(_)));
        // Hidden between wrapper and padding.
        let der = certificate(700);
        let mut wrapped = vec![0x10, 0x01, 0x00, 0x02, 0xc1];
        wrapped.extend(&der);
        wrapped.push(0x42);
        assert_eq!(certificate_in(&wrapped), NvCertificate::Garbage);
    }

    #[test]
    fn nothing_and_garbage_are_told_apart() {
        for empty in [&[][..], &[0xff; 64], &[0x00; 64]] {
            assert_eq!(certificate_in(empty), NvCertificate::Empty);
        }
        let der = certificate(700);
        let truncated = &der[..der.len() - 1];
        let long_length = [&[0x30, 0x82, 0x00, 0x05][..], &[1; 5]].concat();
        let indefinite = [0x30, 0x80, 0x01, 0x00, 0x00];
        for garbage in [
            truncated,
            &long_length,
            &indefinite,
            &[0x30, 0x00],
            b"hello",
            &[0x10, 0x01, 0x00, 0xff],
        ] {
            assert_eq!(certificate_in(garbage), NvCertificate::Garbage, "{garbage:02x?}");
        }
    }

    #[test]
    fn every_prefix_of_a_blob_is_answered_without_panic() {
        let mut blob = vec![0x10, 0x01, 0x00, 0x02, 0xc0];
        blob.extend(certificate(700));
        for end in 0..blob.len() {
            assert!(
                !matches!(certificate_in(&blob[..end]), NvCertificate::Found(_)),
                "{end}"
            );
        }
    }

    #[test]
    fn a_row_of_certificates_ends_where_none_follows() {
        let (a, b) = (certificate(300), certificate(20_000));
        let row = [&a[..], &b, &[0xff; 7]].concat();
        assert_eq!(certificates_in_row(&row), [a, b]);
        assert!(certificates_in_row(&[0xff; 3]).is_empty());
    }
}
