# frozen_string_literal: true

require "time"
require_relative "value_object"

module Transfer
  # A training that is kept on this machine. {Transfer.runs} lists them.
  #
  # @example
  #   run = Transfer.resumable.last
  #   run.epoch   # => 3
  #   run.resume  # => the model
  class Run
    include ValueObject

    class << self
      # Removes runs, the least recently used first; never one that a process trains. The default limits are those of
      # the automatic removal ({Configuration#runs_keep}, {Configuration#runs_limit}).
      #
      # @param older_than [String, Numeric, nil] runs without use for longer than this: `"30d"`, or seconds
      # @param max_size [String, Integer, nil] size of the remaining runs: `"2GB"`, or bytes. Finished runs are removed
      #   first, beginning with those whose model was saved elsewhere; then interrupted ones
      # @param dry_run [Boolean] true: removes nothing
      # @return [Array<Run>] those that are removed, or would be
      # @raise [ConfigurationError] if another user could write to the directory of the runs
      def prune(older_than: nil, max_size: nil, dry_run: false)
        words = { "older_than_s" => amount(older_than, :seconds, %(older_than is a time such as "30d")),
                  "max_bytes" => amount(max_size, :bytes, %(max_size is a size such as "2GB")) }
        Bridge.call("prune_runs", { **words.compact, "dry_run" => dry_run }).map { |plain| new(plain) }
      end

      private

      def amount(value, kind, expected)
        amount = value.is_a?(String) ? Amounts.public_send(kind, value) : value
        return amount if amount.nil? ? value.nil? : amount.is_a?(Numeric) && !amount.negative?

        raise ArgumentError, "#{expected}, got #{value.inspect}"
      end
    end

    # @return [String] the id that {Transfer.resume} takes
    attr_reader :id
    # @return [Pathname] its directory
    attr_reader :path
    # @return [Pathname, nil] a page about the trained model, which a finished training has written
    attr_reader :report
    # @return [Symbol] `:running`, `:interrupted`, `:finished`; `:damaged`, which can't be resumed; or `:untrusted`,
    #   which another user could have written to
    attr_reader :status
    # @return [Time, nil] when it began
    attr_reader :created_at
    alias started_at created_at
    # @return [Time] when it was last trained, or its model used
    attr_reader :used_at
    # @return [Integer] bytes of its files
    attr_reader :size
    # @return [String, nil] the name of the backbone
    attr_reader :backbone
    # @return [String, nil] the path of the training data; nil for rows
    attr_reader :data
    # @return [Hash{Symbol => Object}] as `model.recipe`
    attr_reader :recipe
    # @return [Symbol, nil] the step to resume, `:train` or `:fine_tune`; nil before the first checkpoint
    attr_reader :step
    # @return [Integer, nil] the epochs of that step that are done
    attr_reader :epoch
    # @return [Integer, nil] the epochs of that step
    attr_reader :epochs

    # @api private
    # @param plain [Hash] as it came over the wire
    def initialize(plain)
      @id, @backbone, @data, @epoch, @epochs = plain.values_at("id", "backbone", "data", "epoch", "epochs")
      @path = Pathname(plain["path"])
      @report = plain["report"]&.then { |path| Pathname(path) }
      @status = plain["status"].to_sym
      @saved = plain["saved"]
      @created_at = plain["created_at"]&.then { |text| Time.iso8601(text) }
      @used_at = Time.at(plain["used_at"])
      @size = plain["bytes"]
      @recipe = Plain.symbolize(plain["recipe"] || {})
      @step = plain["step"]&.to_sym
    end

    # @return [Boolean] whether it was interrupted and can be resumed
    def resumable? = status == :interrupted

    # @return [Boolean] whether another user could have written to it, so that it is resumed with `trust: true` alone
    def untrusted? = status == :untrusted

    # @return [Boolean] whether its model was saved elsewhere, too
    def saved? = @saved

    # @param words (see Transfer.resume)
    # @return [Model]
    def resume(**words, &) = Transfer.resume(self, **words, &)

    # @param words (see Transfer.resume)
    # @return [Job]
    def resume_async(**words, &) = Transfer.resume_async(self, **words, &)

    # Removes its directory, with the model or the checkpoint.
    # @return [self]
    # @raise [ConfigurationError] if a process trains it
    def remove
      Bridge.call("remove_run", { "run" => id })
      self
    end

    # @return [Hash{Symbol => Object}] the attributes that are not nil
    def to_h
      { id:, path:, report:, status:, created_at:, used_at:, size:, backbone:, data:, step:, epoch:, epochs:,
        saved: saved?, recipe: }.compact
    end

    def to_s = id

    def inspect
      where = "#{step}, epoch #{epoch}/#{epochs}" if step
      "#<#{self.class} #{[id, status, where, Amounts.size(size)].compact.join(', ')}>"
    end
  end
end
