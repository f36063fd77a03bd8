# frozen_string_literal: true

module Transfer
  module Bridge
    # What goes wrong in the keeper's thread, as those who wait hear of it.
    module Fault
      class << self
        # @return [Error, nil] what the block raised; what nobody foresaw is the `cause` of one that says so
        def of(&)
          told(&)
          nil
        rescue Error => error
          error
        end

        private

        def told
          yield
        rescue Error
          raise
        rescue StandardError => error
          raise Error, "the worker's keeper failed: #{error.class}: #{error.message}"
        end
      end
    end
  end
end
