//! Names that people choose and others read: no character that hides, reorders or breaks lines (§3.5).
//!
//! A name could otherwise imitate another one, or look empty.

/// Characters that reorder text around them.
pub fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Line and paragraph separators, format characters, fillers and selectors: what Unicode calls Zl, Zp and Cf, and whatever
/// else may be ignored when text is shown. The two joiners, which some scripts need, are judged in their place.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{0600}'..='\u{0605}' | '\u{06dd}' | '\u{070f}' | '\u{0890}'..='\u{0891}' | '\u{08e2}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'
        | '\u{2028}'..='\u{2029}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Arabic to Myanmar, Khmer and Mongolian, Arabic forms: a joiner between two characters of these is seen.
fn takes_joiners(c: char) -> bool {
    matches!(c, '\u{0600}'..='\u{109f}' | '\u{1780}'..='\u{18af}' | '\u{fb50}'..='\u{fefe}')
}

/// Whether a name holds anything that hides, reorders or breaks lines.
pub fn deceives(name: &str) -> bool {
    let mut before = None;
    let mut rest = name.chars().peekable();
    while let Some(c) = rest.next() {
        let after = rest.peek().copied();
        let bad_joiner = is_joiner(c) && ![before, after].iter().all(|c| c.is_some_and(takes_joiners));
        if c.is_control() || is_bidi_control(c) || is_invisible(c) || bad_joiner {
            return true;
        }
        before = Some(c);
    }
    false
}
