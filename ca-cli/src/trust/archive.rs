//! Archives as vendors publish them, read in memory: nothing is unpacked to the disk, no name in them leads anywhere.

use std::io::{Cursor, Read};

/// Bytes of an archive as it lies there.
pub(crate) const ARCHIVE: u64 = 64 << 20;
/// Folders of a cabinet; real ones have one.
const CAB_FOLDERS: usize = 64;

/// One file of an archive: its name in it, and its content, which is read as far as the reader goes.
pub(crate) type Each<'a, E> = dyn FnMut(&str, &mut dyn Read) -> Result<(), E> + 'a;

/// Why an archive, or a file of it, is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError<E> {
    /// It is not what it seems.
    #[error("{0}")]
    Broken(String),
    /// The caller has had enough.
    #[error("enough")]
    Stop(E),
}

/// Whether a name stays inside: no `..`, no root, no drive, nothing a terminal would obey.
pub(crate) fn stays_inside(name: &str) -> bool {
    let name = name.replace('\\', "/");
    let drive = name.as_bytes().get(1) == Some(&b':');
    !name.is_empty()
        && !name.starts_with('/')
        && !drive
        && !name.chars().any(char::is_control)
        && !name.split('/').any(|part| part == "..")
}

/// Every file of a zip archive. `files` is how many there may be.
pub(crate) fn zip<E>(bytes: &[u8], files: usize, each: &mut Each<'_, E>) -> Result<(), ArchiveError<E>> {
    let broken = |e: zip::result::ZipError| ArchiveError::Broken(format!("not a whole zip archive: {e}"));
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.len() > files {
        return Err(ArchiveError::Broken(format!("more than {files} files in it")));
    }
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).map_err(broken)?;
        if !file.is_file() {
            continue;
        }
        let name = file.name().map_err(broken)?.into_owned();
        each(&name, &mut file).map_err(ArchiveError::Stop)?;
    }
    Ok(())
}

/// A file of a cabinet: where it lies in its folder's data.
struct CabFile {
    name: String,
    folder: u16,
    offset: u32,
    size: u32,
}

/// Every file of a cabinet (MS-CAB), in the order of its folders. `total` is how many bytes all of them may be.
///
/// Its files lie in compressed folders that can only be read from their beginning. To read each folder once, and not once
/// for each file, the library is given a copy in which every folder is one file.
pub(crate) fn cabinet<E>(
    bytes: &[u8],
    files: usize,
    total: u64,
    each: &mut Each<'_, E>,
) -> Result<(), ArchiveError<E>> {
    let broken = |what: &str| ArchiveError::Broken(format!("not a whole cabinet: {what}"));
    let folders = usize::from(u16_at(bytes, 0x1a).ok_or_else(|| broken("no header"))?);
    let count = usize::from(u16_at(bytes, 0x1c).ok_or_else(|| broken("no header"))?);
    let flags = u16_at(bytes, 0x1e).ok_or_else(|| broken("no header"))?;
    if flags & 0x3 != 0 {
        return Err(broken("it is one of several; join them first"));
    }
    if folders > CAB_FOLDERS || count > files {
        return Err(ArchiveError::Broken(format!(
            "more than {CAB_FOLDERS} folders or {files} files in it"
        )));
    }
    let listed = cab_files(bytes, count).ok_or_else(|| broken("the list of files"))?;
    let whole = one_file_for_each_folder(bytes, folders, &listed, total).ok_or_else(|| broken("the list of files"))?;
    let mut cabinet = cab::Cabinet::new(Cursor::new(whole)).map_err(|e| broken(&e.to_string()))?;
    for folder in 0..folders {
        let mut data = Vec::new();
        let inside = listed.iter().filter(|file| usize::from(file.folder) == folder);
        let Some(end) = inside
            .clone()
            .map(|file| u64::from(file.offset).saturating_add(file.size.into()))
            .max()
        else {
            continue;
        };
        // What cannot be unpacked is missing from the end; the files before it are whole.
        let failure = cabinet
            .read_file(&folder.to_string())
            .and_then(|reader| reader.take(end.min(total)).read_to_end(&mut data))
            .err();
        for file in inside {
            let range = usize::try_from(file.offset).ok().zip(usize::try_from(file.size).ok());
            let content = range.and_then(|(start, size)| data.get(start..start.checked_add(size)?));
            match (content, &failure) {
                (Some(mut content), _) => each(&file.name, &mut content).map_err(ArchiveError::Stop)?,
                (None, Some(e)) => return Err(broken(&e.to_string())),
                (None, None) => return Err(broken("it unpacks to too much")),
            }
        }
    }
    Ok(())
}

/// MS-CAB 2.3: CFFILE.
fn cab_files(bytes: &[u8], count: usize) -> Option<Vec<CabFile>> {
    let mut rest = bytes.get(usize::try_from(u32_at(bytes, 0x10)?).ok()?..)?;
    let mut files = Vec::new();
    for _ in 0..count {
        let (head, after) = rest.split_at_checked(16)?;
        let length = after.iter().take(256).position(|b| *b == 0)?;
        let (name, after) = after.split_at_checked(length)?;
        rest = after.get(1..)?;
        files.push(CabFile {
            size: u32_at(head, 0)?,
            offset: u32_at(head, 4)?,
            folder: u16_at(head, 8)?,
            name: String::from_utf8_lossy(name).into_owned(),
        });
    }
    Some(files)
}

/// The same cabinet, in which each folder holds one file, named by its number.
fn one_file_for_each_folder(bytes: &[u8], folders: usize, files: &[CabFile], total: u64) -> Option<Vec<u8>> {
    let mut whole = bytes.to_vec();
    let list = u32::try_from(whole.len()).ok()?;
    for folder in 0..folders {
        let inside = files.iter().filter(|file| usize::from(file.folder) == folder);
        let end = inside
            .map(|file| u64::from(file.offset).saturating_add(file.size.into()))
            .max();
        let size = u32::try_from(end.unwrap_or(0).min(total)).ok()?;
        whole.extend(size.to_le_bytes());
        whole.extend(0_u32.to_le_bytes());
        whole.extend(u16::try_from(folder).ok()?.to_le_bytes());
        // 1980-01-01, 00:00; no attributes.
        whole.extend([0x21, 0, 0, 0, 0, 0]);
        whole.extend(folder.to_string().as_bytes());
        whole.push(0);
    }
    whole.get_mut(0x10..0x14)?.copy_from_slice(&list.to_le_bytes());
    whole
        .get_mut(0x1c..0x1e)?
        .copy_from_slice(&u16::try_from(folders).ok()?.to_le_bytes());
    Some(whole)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let octets = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(octets.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let octets = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(octets.try_into().ok()?))
}
