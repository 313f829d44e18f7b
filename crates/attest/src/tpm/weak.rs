//! RSA moduli that anyone can factor: what other CAs refuse (Boulder's limits), and the fingerprint of ROCA.

use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::error::ErrorStack;

/// The odd primes up to 751: none may divide a modulus.
const SMALL_PRIMES: [u64; 132] = odd_primes();
/// Primes up to this one show the fingerprint of CVE-2017-15361 in moduli of 2048 bits and more.
const LARGEST_ROCA_PRIME: u64 = 167;
/// Steps of Fermat's method; each catches prime pairs a little farther apart.
const FERMAT_ROUNDS: u32 = 110;

/// Why anyone could factor `modulus` (big-endian, of an allowed size), if we can see it.
pub(super) fn rsa_weakness(modulus: &[u8]) -> Option<&'static str> {
    if modulus.last().is_none_or(|byte| byte & 1 == 0) {
        return Some("RSA modulus is even");
    }
    let residues = small_residues(modulus);
    if is_roca(&residues) {
        return Some("RSA modulus has the ROCA fingerprint (CVE-2017-15361)");
    }
    if residues.iter().any(|(_, residue)| *residue == 0) {
        return Some("RSA modulus has a small factor");
    }
    match fermat_factors(modulus) {
        Ok(true) => Some("RSA modulus has primes too close together"),
        Ok(false) => None,
        Err(_) => Some("RSA modulus cannot be examined"),
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, where a wrong index is an error"
)]
const fn odd_primes() -> [u64; 132] {
    let mut primes = [0; 132];
    let (mut found, mut candidate) = (0, 3);
    while found < primes.len() {
        let mut divisor = 3;
        while divisor * divisor <= candidate && candidate % divisor != 0 {
            divisor += 2;
        }
        if divisor * divisor > candidate {
            primes[found] = candidate;
            found += 1;
        }
        candidate += 2;
    }
    primes
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

/// Each small prime, and the modulus modulo it.
fn small_residues(modulus: &[u8]) -> Vec<(u64, u64)> {
    let mut residues = Vec::with_capacity(SMALL_PRIMES.len());
    let mut primes = SMALL_PRIMES.as_slice();
    while !primes.is_empty() {
        // As many primes as one word holds share one long division.
        let (mut product, mut count) = (1_u64, 0);
        for prime in primes {
            let Some(larger) = product.checked_mul(*prime) else {
                break;
            };
            product = larger;
            count += 1;
        }
        let (group, rest) = primes.split_at(count);
        primes = rest;
        let residue = remainder(modulus, product);
        residues.extend(group.iter().map(|prime| (*prime, residue % prime)));
    }
    residues
}

/// Infineon's primes are k * M + (65537^a mod M), M a product of the first primes: modulo each of these primes the
/// modulus is a power of 65537. A random modulus passes all of them once in 2^27 or so.
fn is_roca(residues: &[(u64, u64)]) -> bool {
    residues
        .iter()
        .take_while(|(prime, _)| *prime <= LARGEST_ROCA_PRIME)
        .all(|(prime, wanted)| {
            let generator = 65_537 % prime;
            let mut power = 1;
            loop {
                if power == *wanted {
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
    let root = square_root(&n, &mut context)?;
    // Candidates are sieved modulo one word, and few are left to be looked at in full.
    let (n_word, root_word) = (n.mod_word(SIEVE)?, root.mod_word(SIEVE)?);
    let sieve = u64::from(SIEVE);
    // Round 0 is for the square of a prime, where a is the root itself.
    for round in 0..=FERMAT_ROUNDS {
        let a = (root_word + u64::from(round)) % sieve;
        if !may_be_square((a * a + sieve - n_word) % sieve) {
            continue;
        }
        let mut a = root.to_owned()?;
        a.add_word(round)?;
        let (mut square, mut b2) = (BigNum::new()?, BigNum::new()?);
        square.sqr(&a, &mut context)?;
        b2.checked_sub(&square, &n)?;
        // Zero is a square too, but no divisor for Newton's method.
        if b2.num_bits() == 0 || (!b2.is_negative() && is_square(&b2, &mut context)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// 64 * 63 * 65 * 11: modulo these four, 99 of 100 numbers that are no squares are seen to be none.
const SIEVE: u32 = 64 * 63 * 65 * 11;

fn may_be_square(residue: u64) -> bool {
    const SQUARES_64: u128 = squares(64);
    const SQUARES_63: u128 = squares(63);
    const SQUARES_65: u128 = squares(65);
    const SQUARES_11: u128 = squares(11);
    [(64, SQUARES_64), (63, SQUARES_63), (65, SQUARES_65), (11, SQUARES_11)]
        .into_iter()
        .all(|(modulus, squares)| squares >> (residue % modulus) & 1 == 1)
}

/// Bit r is set when r is a square modulo `modulus`.
const fn squares(modulus: u32) -> u128 {
    let (mut bits, mut root) = (0, 0);
    while root < modulus {
        bits |= 1 << (root * root % modulus);
        root += 1;
    }
    bits
}

fn is_square(n: &BigNumRef, context: &mut BigNumContext) -> Result<bool, ErrorStack> {
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
    fn the_primes_are_those_up_to_751() {
        assert_eq!(SMALL_PRIMES[..5], [3, 5, 7, 11, 13]);
        assert_eq!(SMALL_PRIMES[130..], [743, 751]);
    }

    #[test]
    fn every_small_prime_is_found() {
        for small in SMALL_PRIMES {
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
        for small in SMALL_PRIMES.into_iter().take_while(|prime| *prime <= 701) {
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
