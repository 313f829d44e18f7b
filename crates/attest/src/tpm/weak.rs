//! RSA moduli that anyone can factor: what other CAs refuse (Boulder's limits), and the fingerprint of ROCA.

use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::error::ErrorStack;

/// Primes up to this one must not divide a modulus.
const LARGEST_SMALL_PRIME: u64 = 751;
/// Primes up to this one show the fingerprint of CVE-2017-15361 in moduli of 2048 bits and more.
const LARGEST_ROCA_PRIME: u64 = 167;
/// Steps of Fermat's method; each catches prime pairs a little farther apart.
const FERMAT_ROUNDS: u32 = 110;

/// Why anyone could factor `modulus` (big-endian, of an allowed size), if we can see it.
pub(super) fn rsa_weakness(modulus: &[u8]) -> Option<&'static str> {
    if modulus.last().is_none_or(|byte| byte & 1 == 0) {
        return Some("RSA modulus is even");
    }
    if has_small_factor(modulus) {
        return Some("RSA modulus has a small factor");
    }
    if is_roca(modulus) {
        return Some("RSA modulus has the ROCA fingerprint (CVE-2017-15361)");
    }
    match fermat_factors(modulus) {
        Ok(true) => Some("RSA modulus has primes too close together"),
        Ok(false) => None,
        Err(_) => Some("RSA modulus cannot be examined"),
    }
}

/// Odd primes up to `limit`.
fn primes(limit: u64) -> impl Iterator<Item = u64> {
    (3..=limit)
        .step_by(2)
        .filter(|n| (3..).step_by(2).take_while(|d| d * d <= *n).all(|d| n % d != 0))
}

/// `modulus` mod `word`.
fn remainder(modulus: &[u8], word: u64) -> u64 {
    let word = u128::from(word);
    let rest = modulus.rchunks(8).rev().fold(0_u128, |rest, chunk| {
        let limb = chunk.iter().fold(0_u128, |limb, byte| limb << 8 | u128::from(*byte));
        ((rest << 64) | limb) % word
    });
    // Below `word`, so it fits.
    u64::try_from(rest).unwrap_or(u64::MAX)
}

fn has_small_factor(modulus: &[u8]) -> bool {
    // Several primes share one long division.
    let divides = |product: u64, group: &[u64]| {
        let rest = remainder(modulus, product);
        group.iter().any(|prime| rest.is_multiple_of(*prime))
    };
    let mut product = 1_u64;
    let mut group = Vec::with_capacity(16);
    for prime in primes(LARGEST_SMALL_PRIME) {
        if let Some(larger) = product.checked_mul(prime) {
            product = larger;
        } else {
            if divides(product, &group) {
                return true;
            }
            product = prime;
            group.clear();
        }
        group.push(prime);
    }
    divides(product, &group)
}

/// Infineon's primes are k * M + (65537^a mod M), M a product of the first primes: modulo each of these primes the
/// modulus is a power of 65537. A random modulus passes all of them once in 2^27 or so.
fn is_roca(modulus: &[u8]) -> bool {
    primes(LARGEST_ROCA_PRIME).all(|prime| {
        let wanted = remainder(modulus, prime);
        let generator = 65_537 % prime;
        let mut power = 1;
        loop {
            if power == wanted {
                return true;
            }
            power = power * generator % prime;
            if power == 1 {
                return false;
            }
        }
    })
}

/// Fermat's method: n = a^2 - b^2 with a just above the root of n.
fn fermat_factors(modulus: &[u8]) -> Result<bool, ErrorStack> {
    let mut context = BigNumContext::new()?;
    let n = BigNum::from_slice(modulus)?;
    if is_square(&n, &mut context)? {
        return Ok(true);
    }
    let mut a = square_root(&n, &mut context)?;
    a.add_word(1)?;
    let mut square = BigNum::new()?;
    square.sqr(&a, &mut context)?;
    let mut b2 = BigNum::new()?;
    b2.checked_sub(&square, &n)?;
    let mut step = BigNum::new()?;
    step.lshift1(&a)?;
    step.add_word(1)?;
    for _ in 0..FERMAT_ROUNDS {
        if is_square(&b2, &mut context)? {
            return Ok(true);
        }
        // (a + 1)^2 - n = a^2 - n + 2a + 1
        let mut next = BigNum::new()?;
        next.checked_add(&b2, &step)?;
        b2 = next;
        step.add_word(2)?;
    }
    Ok(false)
}

fn is_square(n: &BigNumRef, context: &mut BigNumContext) -> Result<bool, ErrorStack> {
    // One division leaves the residues of four moduli; 99 of 100 numbers that are no squares stop here.
    let residues = n.mod_word(64 * 63 * 65 * 11)?;
    let possible = |modulus: u64| (0..modulus).any(|root| root * root % modulus == residues % modulus);
    if ![64, 63, 65, 11].into_iter().all(possible) {
        return Ok(false);
    }
    let root = square_root(n, context)?;
    let mut square = BigNum::new()?;
    square.sqr(&root, context)?;
    Ok(&*square == n)
}

/// Floor of the square root, by Newton's method from above.
fn square_root(n: &BigNumRef, context: &mut BigNumContext) -> Result<BigNum, ErrorStack> {
    let mut root = BigNum::new()?;
    root.set_bit((n.num_bits() + 1) / 2)?;
    loop {
        let mut quotient = BigNum::new()?;
        quotient.checked_div(n, &root, context)?;
        let mut sum = BigNum::new()?;
        sum.checked_add(&root, &quotient)?;
        let mut next = BigNum::new()?;
        next.rshift1(&sum)?;
        if next >= root {
            return Ok(root);
        }
        root = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(p: &BigNumRef, q: &BigNumRef) -> Vec<u8> {
        let mut context = BigNumContext::new().unwrap();
        let mut n = BigNum::new().unwrap();
        n.checked_mul(p, q, &mut context).unwrap();
        n.to_vec()
    }

    fn prime(bits: i32) -> BigNum {
        let mut prime = BigNum::new().unwrap();
        prime.generate_prime(bits, false, None, None).unwrap();
        prime
    }

    /// The next prime after `from`, by steps of `step`.
    fn next_prime(from: &BigNumRef, step: &BigNumRef) -> BigNum {
        let mut context = BigNumContext::new().unwrap();
        let mut candidate = from.to_owned().unwrap();
        loop {
            let mut next = BigNum::new().unwrap();
            next.checked_add(&candidate, step).unwrap();
            candidate = next;
            if candidate.is_prime(32, &mut context).unwrap() {
                return candidate;
            }
        }
    }

    #[test]
    fn a_sound_modulus_shows_no_weakness() {
        for _ in 0..4 {
            assert_eq!(rsa_weakness(&product(&prime(1024), &prime(1024))), None);
        }
    }

    #[test]
    fn an_even_modulus_is_weak() {
        let mut modulus = product(&prime(1024), &prime(1024));
        *modulus.last_mut().unwrap() &= 0xFE;
        assert_eq!(rsa_weakness(&modulus), Some("RSA modulus is even"));
    }

    #[test]
    fn every_small_prime_is_found() {
        for small in primes(LARGEST_SMALL_PRIME) {
            let modulus = product(&BigNum::from_u32(u32::try_from(small).unwrap()).unwrap(), &prime(512));
            assert_eq!(
                rsa_weakness(&modulus),
                Some("RSA modulus has a small factor"),
                "{small}"
            );
        }
        let beyond = product(&BigNum::from_u32(757).unwrap(), &prime(2038));
        assert_eq!(rsa_weakness(&beyond), None);
    }

    #[test]
    fn close_primes_are_found() {
        let p = prime(1024);
        let q = next_prime(&p, &BigNum::from_u32(2).unwrap());
        assert_eq!(
            rsa_weakness(&product(&p, &q)),
            Some("RSA modulus has primes too close together")
        );
        assert_eq!(
            rsa_weakness(&product(&p, &p)),
            Some("RSA modulus has primes too close together")
        );
    }

    #[test]
    fn keys_made_like_infineons_are_found() {
        let mut context = BigNumContext::new().unwrap();
        // M: the product of the first 126 primes is what 2048-bit keys used; the first 39 (to 167) suffice to be found.
        let mut m = BigNum::from_u32(2).unwrap();
        for small in primes(701) {
            m.mul_word(u32::try_from(small).unwrap()).unwrap();
        }
        let weak_prime = |exponent: u32, k: &str, context: &mut BigNumContext| {
            let mut base = BigNum::new().unwrap();
            base.mod_exp(
                &BigNum::from_u32(65_537).unwrap(),
                &BigNum::from_u32(exponent).unwrap(),
                &m,
                context,
            )
            .unwrap();
            let mut start = BigNum::new().unwrap();
            start
                .checked_mul(&BigNum::from_hex_str(k).unwrap(), &m, context)
                .unwrap();
            let mut sum = BigNum::new().unwrap();
            sum.checked_add(&start, &base).unwrap();
            next_prime(&sum, &m)
        };
        let p = weak_prime(0x1234_5678, "ABCDEF0123", &mut context);
        let q = weak_prime(0x0FED_CBA9, "FEDCBA9876", &mut context);
        assert_eq!(
            rsa_weakness(&product(&p, &q)),
            Some("RSA modulus has the ROCA fingerprint (CVE-2017-15361)")
        );
    }
}
