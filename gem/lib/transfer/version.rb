# frozen_string_literal: true

module Transfer
  VERSION = "0.1.0"
end
