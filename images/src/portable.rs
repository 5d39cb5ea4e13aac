//! A program of a tree with everything that it loads, so that another system can run it with its own loader.
//!
//! Its dependencies are read from the files; nothing in the tree is run here.

use object::Endianness;
use object::elf;
use object::read::StringTable;
use object::read::elf::{Dyn as _, ElfFile64, ProgramHeader as _};
use root::{Root, RootError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Size limit of a program or a library, in bytes.
const MAX_OBJECT: u64 = 512 << 20;
/// Maximum number of a program's libraries; QEMU with all its modules has some 200.
const MAX_LIBRARIES: usize = 2000;
/// Search path of loaders, with directories for compatibility with other architectures last; Debian's have the
/// architecture in their names.
const FOLDERS: [&str; 12] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/powerpc64le-linux-gnu",
    "/usr/lib/powerpc64le-linux-gnu",
    "/lib/s390x-linux-gnu",
    "/usr/lib/s390x-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/usr/lib",
    "/lib",
];

/// A program and the files that it loads, as paths inside the tree with links resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portable {
    /// The program itself.
    pub program: PathBuf,
    /// Dynamic loader; `None` for a static program.
    pub loader: Option<PathBuf>,
    /// Libraries of the program and its modules, by the names under which they are requested.
    pub libraries: BTreeMap<String, PathBuf>,
    /// Modules that the program opens itself, without those with missing libraries.
    pub modules: Vec<PathBuf>,
}

/// Reasons why a program cannot be made portable.
#[derive(Debug, thiserror::Error)]
pub enum PortableError {
    /// A file cannot be read.
    #[error(transparent)]
    Tree(#[from] RootError),
    /// The file is no 64-bit program, perhaps a script.
    #[error("{path} is not a 64-bit ELF file: {reason}", path = .path.display())]
    Form {
        /// Path of the file inside the tree.
        path: PathBuf,
        /// Reason.
        reason: String,
    },
    /// A library is in no directory of the search path.
    #[error("{path} needs {library}, which is not in {folders}", path = .path.display(), folders = FOLDERS.join(", "))]
    NoLibrary {
        /// Name of the library.
        library: String,
        /// Program or library that requests it.
        path: PathBuf,
    },
    /// There are too many libraries.
    #[error("{path} needs more than {MAX_LIBRARIES} libraries", path = .path.display())]
    TooMany {
        /// Path of the program.
        path: PathBuf,
    },
}

impl Portable {
    /// Collects a program of a tree and its libraries; `modules` are files that it may open itself.
    ///
    /// # Errors
    /// If the program or one of its libraries is missing or cannot be read; such a module is skipped.
    pub fn of(tree: &Root, program: &Path, modules: &[PathBuf]) -> Result<Portable, PortableError> {
        let program = tree.resolve(program)?;
        let mut libraries = BTreeMap::new();
        let object = read(tree, &program)?;
        let loader = object.interpreter.as_deref().map(|path| tree.resolve(path)).transpose()?;
        load(tree, &program, object, &mut libraries)?;
        let mut loaded = Vec::new();
        for module in modules {
            // A missing module, or one with missing libraries, could not be loaded on the original system either.
            let Ok(module) = tree.resolve(module) else { continue };
            let mut more = libraries.clone();
            if read(tree, &module).and_then(|object| load(tree, &module, object, &mut more)).is_ok() {
                libraries = more;
                loaded.push(module);
            }
        }
        Ok(Portable { program, loader, libraries, modules: loaded })
    }
}

/// Dependencies of an ELF file.
#[derive(Debug, Default)]
struct Object {
    interpreter: Option<PathBuf>,
    needed: Vec<String>,
    /// Directories to search first (RPATH, RUNPATH).
    folders: Vec<String>,
}

/// Adds all libraries of an object, recursively.
fn load(
    tree: &Root,
    path: &Path,
    object: Object,
    libraries: &mut BTreeMap<String, PathBuf>,
) -> Result<(), PortableError> {
    let mut queue = vec![(path.to_owned(), object)];
    while let Some((path, object)) = queue.pop() {
        for library in &object.needed {
            if libraries.contains_key(library) {
                continue;
            }
            let lacks = || PortableError::NoLibrary { library: library.clone(), path: path.clone() };
            let found = find(tree, &path, library, &object.folders)?.ok_or_else(lacks)?;
            libraries.insert(library.clone(), found.clone());
            if libraries.len() > MAX_LIBRARIES {
                return Err(PortableError::TooMany { path });
            }
            let next = read(tree, &found)?;
            queue.push((found, next));
        }
    }
    Ok(())
}

fn find(tree: &Root, object: &Path, library: &str, folders: &[String]) -> Result<Option<PathBuf>, PortableError> {
    let origin = object.parent().unwrap_or(Path::new("/")).to_string_lossy();
    let own = folders.iter().map(|folder| folder.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin));
    for folder in own.chain(FOLDERS.map(str::to_owned)) {
        let path = Path::new(&folder).join(library);
        if tree.has_file(&path)? {
            return Ok(Some(tree.resolve(&path)?));
        }
    }
    Ok(None)
}

fn read(tree: &Root, path: &Path) -> Result<Object, PortableError> {
    let bytes = tree.read(path, MAX_OBJECT)?;
    parse(&bytes).map_err(|e| PortableError::Form { path: path.to_owned(), reason: e.to_string() })
}

fn parse(bytes: &[u8]) -> object::read::Result<Object> {
    let file = ElfFile64::<Endianness>::parse(bytes)?;
    let (endian, headers) = (file.endian(), file.elf_program_headers());
    let mut object = Object::default();
    let mut dynamic: &[elf::Dyn64<Endianness>] = &[];
    for header in headers {
        if let Some(path) = header.interpreter(endian, bytes)? {
            object.interpreter = Some(PathBuf::from(String::from_utf8_lossy(path).into_owned()));
        }
        dynamic = header.dynamic(endian, bytes)?.unwrap_or(dynamic);
    }
    let value =
        |tag: u32| dynamic.iter().find(|entry| entry.tag32(endian) == Some(tag)).map(|entry| entry.d_val.get(endian));
    let (Some(address), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else { return Ok(object) };
    // The string table is given by its address; a segment maps the address to a file offset.
    let offset = headers.iter().filter(|header| header.p_type(endian) == elf::PT_LOAD).find_map(|header| {
        let (from, length) = (header.p_vaddr(endian), header.p_filesz(endian));
        let within = address.checked_sub(from).filter(|within| *within < length)?;
        header.p_offset(endian).checked_add(within)
    });
    let Some(offset) = offset else { return Ok(object) };
    let strings = StringTable::new(bytes, offset, offset.saturating_add(size));
    for entry in dynamic {
        let text = || entry.string(endian, strings).map(|text| String::from_utf8_lossy(text).into_owned());
        match entry.tag32(endian) {
            Some(elf::DT_NEEDED) => object.needed.push(text()?),
            Some(elf::DT_RPATH | elf::DT_RUNPATH) => object.folders.extend(text()?.split(':').map(str::to_owned)),
            _ => {}
        }
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Returns this test program itself, which the machine's loader has loaded.
    fn this_program() -> (Root, PathBuf) {
        (Root::new(Path::new("/")).unwrap(), std::env::current_exe().unwrap())
    }

    #[test]
    fn the_loader_and_libraries_of_a_program_are_found() {
        let (root, program) = this_program();
        let portable = Portable::of(&root, &program, &[]).unwrap();
        assert!(portable.loader.unwrap().file_name().unwrap().to_string_lossy().starts_with("ld-"));
        let libc = portable.libraries.iter().find(|(name, _)| name.starts_with("libc.")).unwrap();
        assert!(libc.1.is_file(), "{libc:?}");
        assert!(portable.modules.is_empty());
    }

    #[test]
    fn a_program_without_libraries_is_refused_and_bad_modules_are_skipped() {
        let (machine, program) = this_program();
        let whole = Portable::of(&machine, &program, &[]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &Path, from: &Path| {
            let path = dir.path().join(path.strip_prefix("/").unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::copy(from, path).unwrap();
        };
        put(Path::new("/bin/program"), &program);
        fs::write(dir.path().join("bin/script"), "#!/bin/sh\n").unwrap();
        put(&object(&program).interpreter.unwrap(), whole.loader.as_ref().unwrap());
        let tree = Root::new(dir.path()).unwrap();
        let error = Portable::of(&tree, Path::new("/bin/program"), &[]).unwrap_err();
        assert!(matches!(error, PortableError::NoLibrary { .. }), "{error}");
        for (name, path) in &whole.libraries {
            put(&Path::new("/usr/lib64").join(name), path);
        }
        put(Path::new("/bin/module"), &program);
        // A module whose first library has another name, which no file has.
        let mut lacking = fs::read(&program).unwrap();
        let library = object(&program).needed[0].clone();
        let places: Vec<usize> = lacking
            .windows(library.len())
            .enumerate()
            .filter(|(_, bytes)| *bytes == library.as_bytes())
            .map(|(place, _)| place)
            .collect();
        for place in places {
            lacking[place] = b'X';
        }
        assert_eq!(parse(&lacking).unwrap().needed[0], format!("X{}", &library[1..]));
        fs::write(dir.path().join("bin/lacking"), lacking).unwrap();
        let (script, module) = (PathBuf::from("/bin/script"), PathBuf::from("/bin/module"));
        let modules = [script.clone(), PathBuf::from("/bin/gone"), PathBuf::from("/bin/lacking"), module.clone()];
        let portable = Portable::of(&tree, Path::new("/bin/program"), &modules).unwrap();
        assert_eq!((portable.libraries.len(), portable.modules), (whole.libraries.len(), vec![module]));
        assert!(matches!(Portable::of(&tree, &script, &[]).unwrap_err(), PortableError::Form { .. }));
    }

    fn object(path: &Path) -> Object {
        parse(&fs::read(path).unwrap()).unwrap()
    }
}
