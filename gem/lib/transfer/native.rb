# frozen_string_literal: true

# Everything of {Transfer} that is written in C is loaded here.
module Transfer
  # Set `TRANSFER_NATIVE=0` to go without it.
  begin
    require "transfer/transfer_native" unless ENV["TRANSFER_NATIVE"] == "0"
  rescue LoadError # not built: no compiler when the gem was installed
    nil
  end
  private_constant :Native if const_defined?(:Native, false)

  class << self
    # @return [Boolean] whether the part written in C is in use. Everything works without it; large arrays take longer.
    def native? = Transfer.const_defined?(:Native, false)
  end
end
