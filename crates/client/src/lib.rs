//! Turn text into hidden rows and hidden rows into checked text; keys and tokens stay here.
