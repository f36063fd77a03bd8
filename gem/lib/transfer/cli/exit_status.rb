# frozen_string_literal: true

module Transfer
  module CLI
    # Exit statuses of `transfer`.
    module ExitStatus
      # Success.
      OK = 0
      # An unexpected error: a bug, or a worker that broke the protocol.
      UNEXPECTED = 1
      # Wrong command line or recipe.
      USAGE = 2
      # Unusable data or model file.
      DATA = 3
      # The machine, its settings, Python, a package, weights or memory.
      MACHINE = 4
      # Some inputs can't be read; the others were predicted.
      SOME_FAILED = 5
      # Ctrl-C, or a cancelled training.
      INTERRUPTED = 130
      # The reader of the output closed the pipe (128 + SIGPIPE).
      PIPE_CLOSED = 141
    end
  end
end
