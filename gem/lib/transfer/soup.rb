# frozen_string_literal: true

module Transfer
  # Running averaging of models.
  class Soup < Job
    # @param recipe [Recipe] the data
    # @param options [Hash{String => Object}] `models` and `selection`
    # @param quiet [Boolean, nil] nil: as configured
    def initialize(recipe, options, quiet: nil) = super(recipe, Request.new("soup", recipe, options:), quiet:)
  end
  private_constant :Soup
end
