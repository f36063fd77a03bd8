# frozen_string_literal: true

require "time"

module Transfer
  # A training that ended too early: cancelled, timed out, killed. {Transfer.resumable} lists them.
  #
  # @example
  #   run = Transfer.resumable.last
  #   run.epoch   # => 3
  #   run.resume  # => the model
  class Run
    # @return [String] what {Transfer.resume} is asked for
    attr_reader :id
    # @return [Pathname] its folder; who deletes it gives the training up
    attr_reader :path
    # @return [Time, nil] when it began
    attr_reader :created_at
    # @return [Hash{Symbol => Object}] as `model.recipe`
    attr_reader :recipe
    # @return [Symbol, nil] the step that goes on, `:train` or `:fine_tune`; nil if it begins anew
    attr_reader :step
    # @return [Integer, nil] the epochs of that step that are done
    attr_reader :epoch
    # @return [Integer, nil] of so many
    attr_reader :epochs

    # @api private
    # @param plain [Hash] as it came over the wire
    def initialize(plain)
      @id = plain["id"]
      @path = Pathname(plain["path"])
      @created_at = plain["created_at"]&.then { |text| Time.iso8601(text) }
      @recipe = Plain.symbolize(plain["recipe"] || {})
      @step = plain["step"]&.to_sym
      @epoch, @epochs = plain.values_at("epoch", "epochs")
    end

    # @param words (see Transfer.resume)
    # @return [Model]
    def resume(**words, &) = Transfer.resume(self, **words, &)

    def to_s = id
    def inspect = "#<Transfer::Run #{[id, ("#{step}, epoch #{epoch}/#{epochs}" if step)].compact.join(', ')}>"
  end
end
