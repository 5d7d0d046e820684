//! Folders and files that are not read although their names say that they should be: a slip of the pen would else leave a
//! site's rules out in silence. Notes, messages and what editors leave are nobody's business.

use std::path::{Path, PathBuf};

use super::diagnostic::nearest;

/// What is not read of the entries of a folder and of its `resources`, and was meant to be.
pub fn slips(dir: &Path, entries: &[PathBuf]) -> Vec<(PathBuf, String)> {
    entries.iter().filter_map(|path| Some((path.clone(), slip(dir, path)?))).collect()
}

fn slip(dir: &Path, path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let in_resources = path.parent() != Some(dir);
    if name.starts_with(['.', '#']) || name.ends_with('~') {
        return None;
    }
    if path.is_dir() {
        let read = !in_resources && matches!(name, "resources" | "extended" | "guide"); // as in a copy of the shipped ones
        let near = nearest(name, ["resources"]).filter(|_| !in_resources);
        return match near {
            _ if read => None,
            Some(near) => Some(format!("is not read; did you mean '{near}'?")),
            None => holds_rules(path).then(|| {
                "is not read; mapping files stand in the folder itself, those of resources in resources/".to_owned()
            }),
        };
    }
    is_slip(name, in_resources).then(|| "is not read; its name must end with .toml".to_owned())
}

fn holds_rules(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let rules = |path: PathBuf| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
    entries.take(1_000).any(|entry| rules(entry.path()))
}

/// Whether a name is that of a mapping file but for its end.
fn is_slip(name: &str, in_resources: bool) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else {
        return in_resources || matches!(name, "events" | "datatypes" | "tables");
    };
    let lower = extension.to_ascii_lowercase();
    let mut letters: Vec<char> = lower.chars().collect();
    letters.sort_unstable();
    // toml in capitals or turned round, one letter short, or behind it what an editor of Windows adds.
    let turned = letters == ['l', 'm', 'o', 't'] && extension != "toml";
    let short = lower.len() == 3 && nearest(&lower, ["toml"]).is_some();
    turned || short || (lower == "txt" && stem.to_ascii_lowercase().ends_with(".toml"))
}
