//! A digest as people compare it: groups of four hex digits, twenty-four words, and a QR picture for a second device.
//!
//! Nothing is ever shortened: whoever writes what is digested could find two with the same short fingerprint. Pure.

use qrcode::{Color, EcLevel, QrCode};

/// The 2048 words of BIP-39 (English; MIT licence): the first four letters tell each from all others.
const WORDS: &str = include_str!("english.txt");

/// Sixteen groups of four hex digits, eight on a line.
#[must_use]
pub fn groups(digest: &[u8; 32]) -> String {
    let mut out = String::with_capacity(80);
    for (place, pair) in digest.chunks(2).enumerate() {
        if place > 0 {
            out.push(if place % 8 == 0 { '\n' } else { ' ' });
        }
        out.push_str(&hex::encode(pair));
    }
    out
}

/// Twenty-four words for reading aloud, eleven bits each, as BIP-39 writes 256 bits: the last word also carries a
/// checksum of eight bits, so that a word misread or left out does not make another digest.
#[must_use]
pub fn words(digest: &[u8; 32]) -> Vec<&'static str> {
    let list: Vec<&'static str> = WORDS.lines().collect();
    let [check, ..] = openssl::sha::sha256(digest);
    let bytes: Vec<u8> = digest.iter().copied().chain([check]).collect();
    let bit = |at: usize| -> usize {
        let byte = bytes.get(at / 8).copied().unwrap_or_default();
        usize::from(byte >> (7 - at % 8) & 1)
    };
    (0..24)
        .map(|word| (0..11).fold(0, |number, at| number << 1 | bit(word * 11 + at)))
        .map(|number| list.get(number).copied().unwrap_or_default())
        .collect()
}

/// The digest that these words say; `None` when a word is on no list or they do not belong together.
#[must_use]
pub fn from_words(words: &[&str]) -> Option<[u8; 32]> {
    if words.len() != 24 {
        return None;
    }
    let mut bytes = [0_u8; 33];
    for (place, word) in words.iter().enumerate() {
        let number = WORDS.lines().position(|known| known == *word)?;
        for at in (0..11).filter(|at| number >> (10 - at) & 1 == 1) {
            let bit = place * 11 + at;
            *bytes.get_mut(bit / 8)? |= 0x80 >> (bit % 8);
        }
    }
    let (digest, check) = bytes.split_first_chunk::<32>()?;
    let [wanted, ..] = openssl::sha::sha256(digest);
    (check == [wanted]).then_some(*digest)
}

/// A QR code of the medium error correction level as half blocks, quiet zone included, for a terminal that writes light
/// on dark: its dark modules are blanks. `None` for a text of more than about two thousand bytes.
#[must_use]
pub fn qr_text(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    Some(
        code.render::<qrcode::render::unicode::Dense1x2>()
            .dark_color(qrcode::render::unicode::Dense1x2::Light)
            .light_color(qrcode::render::unicode::Dense1x2::Dark)
            .quiet_zone(true)
            .build(),
    )
}

/// The same as an SVG of one path, one unit a module, quiet zone included.
#[must_use]
pub fn qr_svg(text: &str) -> Option<String> {
    let (side, path) = qr_path(text)?;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/><path d=\"{path}\" fill=\"#000\"/></svg>\n"
    ))
}

/// Its dark modules as the data of an SVG path, one unit a module, and the side of the square that they stand in, quiet
/// zone included.
#[must_use]
pub fn qr_path(text: &str) -> Option<(usize, String)> {
    use core::fmt::Write as _;
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let (width, quiet) = (code.width(), 4);
    let mut path = String::new();
    for (at, _) in code.to_colors().iter().enumerate().filter(|(_, c)| **c == Color::Dark) {
        let (x, y) = (at % width + quiet, at / width + quiet);
        let _ = write!(path, "M{x} {y}h1v1h-1z");
    }
    Some((width + 2 * quiet, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_groups_of_four() {
        let text = groups(&openssl::sha::sha256(b""));
        assert_eq!(
            text,
            "e3b0 c442 98fc 1c14 9afb f4c8 996f b924\n27ae 41e4 649b 934c a495 991b 7852 b855"
        );
    }

    #[test]
    fn the_list_is_the_published_one() {
        assert_eq!(
            hex::encode(openssl::sha::sha256(WORDS.as_bytes())),
            "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
        );
    }

    #[test]
    fn the_published_vectors() {
        // From the vectors of BIP-39, entropy of 256 bits.
        let text = |byte: u8| words(&[byte; 32]).join(" ");
        assert_eq!(text(0), format!("{}art", "abandon ".repeat(23)));
        assert_eq!(text(0xff), format!("{}vote", "zoo ".repeat(23)));
        assert_eq!(
            text(0x7f),
            "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful legal \
             winner thank year wave sausage worth title"
        );
    }

    #[test]
    fn words_lead_back_and_a_wrong_one_does_not() {
        let digest = openssl::sha::sha256(b"a plan");
        let said = words(&digest);
        assert_eq!(from_words(&said), Some(digest));
        assert_eq!(from_words(&said[1..]), None);
        let mut foreign = said.clone();
        foreign[3] = "holdfast";
        assert_eq!(from_words(&foreign), None);
        // Any other word in any place: never this digest, and found by the checksum but for one in 256.
        let mut found = 0;
        for place in 0..24 {
            for other in WORDS.lines().step_by(97) {
                let mut wrong = said.clone();
                if wrong[place] == other {
                    continue;
                }
                wrong[place] = other;
                match from_words(&wrong) {
                    None => found += 1,
                    Some(read) => assert_ne!(read, digest),
                }
            }
        }
        assert!(found > 24 * 20, "{found}");
    }

    /// What a reader sees in a picture; `dark` tells whether a module is dark.
    fn read(side: usize, dark: impl Fn(usize, usize) -> bool) -> String {
        const SCALE: usize = 4;
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(side * SCALE, side * SCALE, |x, y| {
            if dark(x / SCALE, y / SCALE) { 0 } else { 255 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one code is seen");
        grids[0].decode().unwrap().1
    }

    #[test]
    fn a_reader_reads_the_svg() {
        for text in [hex::encode(openssl::sha::sha256(b"plan")), "ACDE ".repeat(60)] {
            let svg = qr_svg(&text).unwrap();
            let side: usize = svg
                .split("viewBox=\"0 0 ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap()
                .parse()
                .unwrap();
            let path = svg.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
            let dark: std::collections::BTreeSet<(usize, usize)> = path
                .split('M')
                .skip(1)
                .map(|m| {
                    let (x, rest) = m.split_once(' ').unwrap();
                    let (y, shape) = rest.split_once('h').unwrap();
                    assert_eq!(shape, "1v1h-1z");
                    (x.parse().unwrap(), y.parse().unwrap())
                })
                .collect();
            assert_eq!(read(side, |x, y| dark.contains(&(x, y))), text);
        }
    }

    #[test]
    fn a_reader_reads_the_terminal() {
        let text = hex::encode(openssl::sha::sha256(b"plan"));
        let picture = qr_text(&text).unwrap();
        let rows: Vec<Vec<char>> = picture.lines().map(|line| line.chars().collect()).collect();
        let side = rows[0].len();
        // A block is light: characters are drawn in the terminal's light colour on its dark one.
        let dark = |x: usize, y: usize| {
            let character = rows.get(y / 2).map_or(' ', |row| row[x]);
            let (top, bottom) = match character {
                ' ' => (true, true),
                '\u{2580}' => (false, true),
                '\u{2584}' => (true, false),
                '\u{2588}' => (false, false),
                other => panic!("{other:?}"),
            };
            // The last row of an odd picture is half a line.
            if y >= side {
                false
            } else if y.is_multiple_of(2) {
                top
            } else {
                bottom
            }
        };
        assert_eq!(read(side, dark), text);
    }

    #[test]
    fn what_no_code_holds_is_none() {
        assert_eq!(qr_text(&"a".repeat(4000)), None);
        assert_eq!(qr_svg(&"a".repeat(4000)), None);
    }
}
