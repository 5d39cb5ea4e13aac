//! Parser of ndb, the database of rpm on openSUSE and SLES: Debian's and other distros' rpm is built without it, and
//! silently takes the directory for one without a database.
//!
//! The file has slots that say which blocks hold a package's header; numbers are little-endian. This is format version
//! 0, written by `lib/backend/ndb/rpmpkg.c` of rpm 4.14 to 4.20.

/// Name of the database file.
pub(super) const FILE: &str = "Packages.db";

/// Sizes in bytes of a page of slots, of a slot, and of a block.
const PAGE: usize = 4096;
const SLOT: usize = 16;
const BLOCK: usize = 16;
/// Bytes before the slots, and before a header in its blocks.
const HEAD: usize = 32;
const BLOB_HEAD: usize = 16;

/// The bytes before each header in a list of headers.
const MAGIC: &[u8] = b"\x8e\xad\xe8\x01\0\0\0\0";

/// Returns the headers of all packages as a list that `rpmdb --importdb` of any rpm accepts.
///
/// # Errors
///
/// The defect of the file.
pub(super) fn header_list(file: &[u8]) -> Result<Vec<u8>, &'static str> {
    if !file.starts_with(b"RpmP") || number(file, 4)? != 0 {
        return Err("expected ndb's form 0");
    }
    let end = number(file, 12)?.checked_mul(PAGE);
    let slots = end.and_then(|end| file.get(HEAD..end)).ok_or("the file ends within its slots")?;
    let mut list = Vec::new();
    for slot in slots.chunks_exact(SLOT) {
        let [package, from, blocks] = [number(slot, 4)?, number(slot, 8)?, number(slot, 12)?];
        if !slot.starts_with(b"Slot") {
            return Err("expected a slot");
        }
        // A free slot.
        if from == 0 {
            continue;
        }
        let blob = file.get(from.saturating_mul(BLOCK)..from.saturating_add(blocks).saturating_mul(BLOCK));
        let blob = blob.ok_or("the file ends within its packages")?;
        let is_whole = blob.starts_with(b"BlbS") && blob.ends_with(b"BlbE") && number(blob, 4)? == package;
        let header = blob.get(BLOB_HEAD..BLOB_HEAD.saturating_add(number(blob, 12)?)).filter(|_| is_whole);
        list.extend_from_slice(MAGIC);
        list.extend_from_slice(header.ok_or("a package is not where its slot says")?);
        // Slots must not share blocks, or a small file could fill this machine's memory.
        if list.len() > file.len() {
            return Err("slots overlap");
        }
    }
    Ok(list)
}

fn number(bytes: &[u8], at: usize) -> Result<usize, &'static str> {
    let four = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or("the file ends within a number")?;
    usize::try_from(u32::from_le_bytes(*four)).map_err(|_| "a number is too large")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Makes a database of these headers, with a free slot before them.
    pub(in super::super) fn database(headers: &[&[u8]]) -> Vec<u8> {
        let word = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
        let mut file = [b"RpmP".as_slice(), &word(0), &word(1), &word(1), &word(headers.len() + 1)].concat();
        file.resize(HEAD, 0);
        let (mut slots, mut blobs) = ([b"Slot".as_slice(), &[0; 12]].concat(), Vec::new());
        for (number, header) in (1..).zip(headers.iter().copied()) {
            let whole = (BLOB_HEAD + header.len() + 12).next_multiple_of(BLOCK);
            let from = (PAGE + blobs.len()) / BLOCK;
            slots.extend([b"Slot".as_slice(), &word(number), &word(from), &word(whole / BLOCK)].concat());
            let mut blob = [b"BlbS".as_slice(), &word(number), &word(0), &word(header.len()), header].concat();
            blob.resize(whole - 8, 0);
            blobs.extend([blob.as_slice(), &word(header.len()), b"BlbE"].concat());
        }
        while slots.len() < PAGE - HEAD {
            slots.extend([b"Slot".as_slice(), &[0; 12]].concat());
        }
        [file, slots, blobs].concat()
    }

    #[test]
    fn headers_are_found_by_their_slots() {
        let file = database(&[b"the first", b"and the second one"]);
        let list = header_list(&file).unwrap();
        assert_eq!(list, [MAGIC, b"the first", MAGIC, b"and the second one"].concat());
        assert_eq!(header_list(&database(&[])).unwrap(), b"");
    }

    #[test]
    fn a_file_that_ndb_would_not_write_is_refused() {
        let sound = database(&[b"the first", b"and the second one"]);
        for length in [0, 4, 20, 100, PAGE, PAGE + 40, sound.len() - 1] {
            assert!(header_list(&sound[..length]).is_err(), "cut off after {length} bytes");
        }
        let changed = |at: usize, to: u8| {
            let mut file = sound.clone();
            file[at] = to;
            header_list(&file)
        };
        assert_eq!(changed(4, 1), Err("expected ndb's form 0"));
        assert_eq!(changed(HEAD, b'x'), Err("expected a slot"));
        // The first package's slot: its number, its first block, and its number of blocks.
        let slot = HEAD + SLOT;
        assert_eq!(changed(slot + 4, 7), Err("a package is not where its slot says"));
        assert_eq!(changed(slot + 8, 1), Err("a package is not where its slot says"));
        assert_eq!(changed(slot + 11, 0xff), Err("the file ends within its packages"));
        assert_eq!(changed(slot + 12, 1), Err("a package is not where its slot says"));
        assert_eq!(changed(PAGE + 15, 0xff), Err("a package is not where its slot says"), "its length");

        // All slots point to one package that fills most of the file.
        let (mut file, many) = (database(&[&[b'x'; 9000]]), PAGE / SLOT - 2);
        let one = file[slot..slot + SLOT].repeat(many);
        file[HEAD..HEAD + one.len()].copy_from_slice(&one);
        assert_eq!(header_list(&file), Err("slots overlap"));
    }
}
