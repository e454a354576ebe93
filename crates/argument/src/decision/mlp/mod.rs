//! Decisions of a perceptron: a batch of rows in, their scores out.
