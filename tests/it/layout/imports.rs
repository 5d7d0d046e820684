//! Who imports whom, read from the sources: an import goes from the file that uses a name to the file that defines it.
//!
//! A `mod` line is no import. A name that is taken through a re-export counts to the file that defines it, and a re-export
//! of what stands below in the same folder is no import either. What only tests see is left out. Names that come from
//! another crate, or that a macro makes, are not followed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// A module's path from the crate's root.
pub type Module = Vec<String>;

/// The sources of a crate, by their paths below `src`.
pub struct Sources(BTreeMap<PathBuf, syn::File>);

/// An import: from, to, and the names that are used.
pub type Imports = BTreeMap<(PathBuf, PathBuf), BTreeSet<String>>;

impl Sources {
    pub fn read(src: &Path) -> Self {
        let mut files = Vec::new();
        super::rust_files(src, &mut files);
        let read =
            |path: &PathBuf| (path.strip_prefix(src).unwrap().to_owned(), std::fs::read_to_string(path).unwrap());
        Self::of(files.iter().map(read))
    }

    pub fn of(files: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let parse = |(path, text): (PathBuf, String)| {
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path, file)
        };
        Self(files.into_iter().map(parse).collect())
    }

    /// The files that tests alone see are not among the keys.
    pub fn imports(&self) -> Imports {
        let krate = Crate::of(self);
        let mut imports = Imports::new();
        for (path, file) in &self.0 {
            let module = module_of(path);
            if !krate.modules.contains_key(&module) {
                continue; // only tests see it
            }
            let mut uses = Uses { krate: &krate, module, from: path, imports: &mut imports };
            uses.visit_file(file);
        }
        imports
    }

    /// The types that each file defines outside of tests and functions.
    pub fn types(&self) -> BTreeMap<String, Vec<PathBuf>> {
        let krate = Crate::of(self);
        let mut types = BTreeMap::<String, Vec<PathBuf>>::new();
        for (path, file) in self.0.iter().filter(|(path, _)| krate.modules.contains_key(&module_of(path))) {
            for item in file.items.iter().filter(|item| !is_test(attributes(item))) {
                let name = match item {
                    Item::Struct(item) => &item.ident,
                    Item::Enum(item) => &item.ident,
                    Item::Union(item) => &item.ident,
                    Item::Trait(item) => &item.ident,
                    Item::Type(item) => &item.ident,
                    _ => continue,
                };
                types.entry(name.to_string()).or_default().push(path.clone());
            }
        }
        types
    }
}

/// What each module holds.
struct Crate {
    modules: HashMap<Module, Names>,
}

#[derive(Default)]
struct Names {
    file: PathBuf,
    defined: HashSet<String>,
    children: HashSet<String>,
    /// By the name under which it is known here.
    imported: HashMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

enum Meaning {
    Defined(PathBuf),
    Module(Module),
}

impl Crate {
    fn of(sources: &Sources) -> Self {
        let mut krate = Self { modules: HashMap::new() };
        for root in ["lib.rs", "main.rs"] {
            krate.add(sources, Path::new(root), Vec::new());
        }
        krate
    }

    /// Takes in a file and those that it declares.
    fn add(&mut self, sources: &Sources, path: &Path, module: Module) {
        let Some(file) = sources.0.get(path) else { return };
        let mut children = Vec::new();
        let names = self.modules.entry(module.clone()).or_default();
        names.file = path.to_owned();
        for item in file.items.iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Mod(item) => {
                    names.children.insert(item.ident.to_string());
                    children.push(item.ident.to_string());
                }
                Item::Use(item) => flatten(&item.tree, Vec::new(), &mut |path, name| match name {
                    Some(name) => drop(names.imported.insert(name, path)),
                    None => names.globs.push(path),
                }),
                item => names.defined.extend(name_of(item)),
            }
        }
        for child in children {
            let below: Module = module.iter().cloned().chain([child]).collect();
            let folder: PathBuf = below.iter().collect();
            self.add(sources, &folder.with_extension("rs"), below.clone());
            self.add(sources, &folder.join("mod.rs"), below);
        }
    }

    fn in_module(&self, module: &Module, name: &str, depth: usize) -> Option<Meaning> {
        let names = self.modules.get(module)?;
        if names.defined.contains(name) {
            return Some(Meaning::Defined(names.file.clone()));
        }
        if names.children.contains(name) {
            return Some(Meaning::Module(module.iter().cloned().chain([name.to_owned()]).collect()));
        }
        let depth = depth.checked_sub(1)?;
        if let Some(path) = names.imported.get(name) {
            return self.resolve(module, path, depth);
        }
        names.globs.iter().find_map(|glob| match self.resolve(module, glob, depth)? {
            Meaning::Module(of) if of != *module => self.in_module(&of, name, depth),
            _ => None,
        })
    }

    /// What a path means that stands in a module; `None` where it leads out of the crate.
    fn resolve(&self, module: &Module, path: &[String], depth: usize) -> Option<Meaning> {
        let mut here = module.clone();
        let mut rest = path;
        let (first, behind) = path.split_first()?;
        match first.as_str() {
            "crate" => (here, rest) = (Vec::new(), behind),
            "self" => rest = behind,
            "super" => {
                while let Some(("super", behind)) = rest.split_first().map(|(first, behind)| (first.as_str(), behind)) {
                    here.pop();
                    rest = behind;
                }
            }
            // main.rs uses the library under its name.
            "stoker" => (here, rest) = (Vec::new(), behind),
            _ => {}
        }
        for (at, name) in rest.iter().enumerate() {
            if name == "self" {
                break;
            }
            // At its end a path may mean a function that a folder's head re-exports and names like its file.
            let imported = self.modules.get(&here).and_then(|names| names.imported.get(name));
            if at + 1 == rest.len()
                && let Some(path) = imported
                && let Some(defined @ Meaning::Defined(_)) = self.resolve(&here, path, depth.checked_sub(1)?)
            {
                return Some(defined);
            }
            match self.in_module(&here, name, depth)? {
                Meaning::Module(module) => here = module,
                defined @ Meaning::Defined(_) => return Some(defined),
            }
        }
        Some(Meaning::Module(here))
    }
}

/// How many re-exports are followed before it is a circle of them.
const DEPTH: usize = 16;

/// Collects what one file uses.
struct Uses<'c> {
    krate: &'c Crate,
    module: Module,
    from: &'c Path,
    imports: &'c mut Imports,
}

impl Uses<'_> {
    fn note(&mut self, path: &[String]) {
        let Some(Meaning::Defined(file)) = self.krate.resolve(&self.module, path, DEPTH) else { return };
        if file != self.from {
            let name = path.last().cloned().unwrap_or_default();
            self.imports.entry((self.from.to_owned(), file)).or_default().insert(name);
        }
    }

    /// A module that is imported by its name alone may be used where no path shows it (`#[serde(with = "units::size")]`).
    fn note_module(&mut self, path: &[String]) {
        let Some(Meaning::Module(module)) = self.krate.resolve(&self.module, path, DEPTH) else { return };
        if let Some(names) = self.krate.modules.get(&module)
            && module.first() != self.module.first()
        {
            let name = path.last().cloned().unwrap_or_default();
            self.imports.entry((self.from.to_owned(), names.file.clone())).or_default().insert(name);
        }
    }

    /// A path in code: its first name may be a module that was imported, or one below. A name alone is one that the file
    /// defines, or imports: then it counts here, since a re-export does not.
    fn note_inline(&mut self, path: Vec<String>) {
        let imported = |name| self.krate.modules.get(&self.module).is_some_and(|here| here.imported.contains_key(name));
        if path.len() > 1 || path.first().is_some_and(imported) {
            self.note(&path);
        }
    }

    /// Paths in what is given to a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.note_inline(std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && colons < 2 => colons += 1,
                other => {
                    self.note_inline(std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.note_inline(path);
    }
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let hands_on = !matches!(item.vis, Visibility::Inherited);
        let module = self.module.clone();
        let mut paths = Vec::new();
        flatten(&item.tree, Vec::new(), &mut |path, _| paths.push(path));
        for path in paths {
            if !hands_on {
                self.note_module(&path);
            }
            let below = match self.krate.resolve(&module, &path, DEPTH) {
                Some(Meaning::Defined(file)) => module_of(&file).starts_with(&module),
                _ => false,
            };
            if !(hands_on && below && self.from.ends_with("mod.rs")) {
                self.note(&path);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.note_inline(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, made: &'ast syn::Macro) {
        self.tokens(made.tokens.clone());
        visit::visit_macro(self, made);
    }
}

/// The paths of a `use`, each with the name it gets; none for a glob.
fn flatten(tree: &UseTree, mut before: Vec<String>, found: &mut impl FnMut(Vec<String>, Option<String>)) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, found);
        }
        UseTree::Name(name) => {
            let mut known_as = name.ident.to_string();
            if known_as == "self" {
                known_as = before.last().cloned().unwrap_or_default();
            } else {
                before.push(known_as.clone());
            }
            found(before, Some(known_as));
        }
        UseTree::Rename(name) => {
            before.push(name.ident.to_string());
            found(before, Some(name.rename.to_string()));
        }
        UseTree::Glob(_) => found(before, None),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before.clone(), found)),
    }
}

fn module_of(path: &Path) -> Module {
    let mut module: Module =
        path.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`, alone or with more.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        list.path.is_ident("cfg") && list.tokens.to_string().split(|c: char| !c.is_alphanumeric()).any(|w| w == "test")
    })
}
