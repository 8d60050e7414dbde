//! Which languages there are: a text in one that nobody can read is a slip of the file.

use super::nearest::nearest;

/// The languages of ISO 639-1, sorted. From the `iso-codes` package's `iso_639-2.json` (`alpha_2`), which follows the
/// registration authority, the Library of Congress.
const TWO_LETTERS: [&str; 184] = [
    "aa", "ab", "ae", "af", "ak", "am", "an", "ar", "as", "av", "ay", "az", "ba", "be", "bg", "bh", "bi", "bm", "bn",
    "bo", "br", "bs", "ca", "ce", "ch", "co", "cr", "cs", "cu", "cv", "cy", "da", "de", "dv", "dz", "ee", "el", "en",
    "eo", "es", "et", "eu", "fa", "ff", "fi", "fj", "fo", "fr", "fy", "ga", "gd", "gl", "gn", "gu", "gv", "ha", "he",
    "hi", "ho", "hr", "ht", "hu", "hy", "hz", "ia", "id", "ie", "ig", "ii", "ik", "io", "is", "it", "iu", "ja", "jv",
    "ka", "kg", "ki", "kj", "kk", "kl", "km", "kn", "ko", "kr", "ks", "ku", "kv", "kw", "ky", "la", "lb", "lg", "li",
    "ln", "lo", "lt", "lu", "lv", "mg", "mh", "mi", "mk", "ml", "mn", "mr", "ms", "mt", "my", "na", "nb", "nd", "ne",
    "ng", "nl", "nn", "no", "nr", "nv", "ny", "oc", "oj", "om", "or", "os", "pa", "pi", "pl", "ps", "pt", "qu", "rm",
    "rn", "ro", "ru", "rw", "sa", "sc", "sd", "se", "sg", "si", "sk", "sl", "sm", "sn", "so", "sq", "sr", "ss", "st",
    "su", "sv", "sw", "ta", "te", "tg", "th", "ti", "tk", "tl", "tn", "to", "tr", "ts", "tt", "tw", "ty", "ug", "uk",
    "ur", "uz", "ve", "vi", "vo", "wa", "wo", "xh", "yi", "yo", "za", "zh", "zu",
];

/// Languages without a code of two letters (ISO 639-3) that devices show: those for which CLDR has texts.
const THREE_LETTERS: [&str; 24] = [
    "ast", "brx", "ceb", "chr", "ckb", "doi", "dsb", "fil", "fur", "gsw", "haw", "hsb", "kab", "kea", "kok", "mai",
    "mni", "nds", "pcm", "sat", "sco", "szl", "vec", "yue",
];

/// What is written by mistake: a country, a code of three letters where there are two, a code that was given up.
const SLIPS: [(&str, &str); 20] = [
    ("at", "de"),
    ("cn", "zh"),
    ("cz", "cs"),
    ("deu", "de"),
    ("dk", "da"),
    ("eng", "en"),
    ("fra", "fr"),
    ("fre", "fr"),
    ("gb", "en"),
    ("ger", "de"),
    ("gr", "el"),
    ("in", "id"),
    ("ita", "it"),
    ("iw", "he"),
    ("jp", "ja"),
    ("nld", "nl"),
    ("por", "pt"),
    ("spa", "es"),
    ("ua", "uk"),
    ("us", "en"),
];

/// Whether a locale, such as `fr` or `fr-CA`, begins with a language that there is.
pub(super) fn is_known(locale: &str) -> bool {
    let language = language(locale);
    TWO_LETTERS.binary_search(&language).is_ok() || THREE_LETTERS.binary_search(&language).is_ok()
}

/// The locale that was probably meant: the nearest language that begins with the same letter, else the nearest.
pub(super) fn meant(locale: &str) -> Option<String> {
    let language = language(locale);
    let slip = SLIPS.iter().find(|(slip, _)| *slip == language).map(|(_, meant)| *meant);
    let all = || TWO_LETTERS.into_iter().chain(THREE_LETTERS);
    let alike = || nearest(language, all().filter(|known| known.get(..1) == language.get(..1)));
    let meant = slip.or_else(alike).or_else(|| nearest(language, all()))?;
    Some(format!("{meant}{}", locale.get(language.len()..).unwrap_or_default()))
}

fn language(locale: &str) -> &str {
    locale.split(['-', '_']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_each_code_stands_once() {
        assert!(TWO_LETTERS.is_sorted_by(|one, next| one < next), "it is searched by halves");
        assert!(THREE_LETTERS.is_sorted_by(|one, next| one < next));
        assert!(TWO_LETTERS.iter().all(|code| code.len() == 2) && THREE_LETTERS.iter().all(|code| code.len() == 3));
        for (slip, meant) in SLIPS {
            assert!(!is_known(slip) && is_known(meant), "{slip} {meant}");
        }
    }

    #[test]
    fn a_language_is_known_with_and_without_its_region_and_what_was_meant_is_told() {
        for known in ["fr", "fr-CA", "fr_CA", "zh-Hant-TW", "gsw", "yue-HK", "nb", "eu"] {
            assert!(is_known(known), "{known}");
        }
        for (unknown, wanted) in
            [("us", "en"), ("gb-GB", "en-GB"), ("jp", "ja"), ("zz", "za"), ("eng", "en"), ("xx", "xh")]
        {
            assert!(!is_known(unknown), "{unknown}");
            assert_eq!(meant(unknown).as_deref(), Some(wanted), "{unknown}");
        }
    }
}
