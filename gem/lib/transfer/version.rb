# frozen_string_literal: true

module Transfer
  # Of the gem and of the training core that it carries.
  VERSION = "0.1.0"
end
