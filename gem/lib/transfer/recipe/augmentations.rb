# frozen_string_literal: true

module Transfer
  class Recipe
    # Augmentations as plain data.
    # @api private
    module Augmentations
      class << self
        # @param given [Boolean, Symbol, Hash, Array<Symbol, Hash>, nil] of `predict augment:`
        # @return [Array<String, Hash>, true, nil] nil for false
        # @raise [ArgumentError] for options that are no hash
        def wire(given)
          return given || nil if [true, false, nil].include?(given)

          Plain.frozen_copy([given].flatten.flat_map { |one| list(one) })
        end

        # @param given [Symbol, Hash] a name, names with their options, or the wire's form
        # @return [Array<Symbol, Hash>]
        # @raise (see wire)
        def list(given)
          return [given] unless given.is_a?(Hash) && !given.transform_keys(&:to_s).key?("type")

          given.map do |name, options|
            next name if options == true
            next { type: name, **options } if options.is_a?(Hash)

            raise ArgumentError, "#{name} takes its options as a hash, got #{options.inspect}"
          end
        end
      end
    end
  end
end
