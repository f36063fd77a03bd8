# frozen_string_literal: true

require_relative "read_ahead"

module Transfer
  # The predictions of many inputs, made a batch at a time.
  class Predictions
    include Enumerable

    # Bad inputs that one message names.
    NAMED = 20
    private_constant :NAMED

    # @param batches [Input::Batches]
    # @param on_bad_input [Symbol] :raise, :skip or :mark
    # @param streamed [Boolean] true: a batch is predicted while the results of the one before are used
    # @yieldparam inputs [Array] the readable inputs of a batch, as the wire carries them
    # @yieldreturn [Array<Hash>] a plain prediction or `{"error" => message}` for each
    def initialize(batches, on_bad_input, streamed:, &ask)
      @batches = batches
      @on_bad_input = on_bad_input
      @ask = ask
      @results = streamed ? ReadAhead.new(batches, &method(:predict)) : batches.lazy.map(&method(:predict))
    end

    # @yieldparam prediction [Prediction, BadInput]
    # @raise [DataError] with :raise, naming all bad inputs of a batch
    # @raise [ArgumentError] with :raise, for an input of another kind
    def each(&)
      skipped = 0
      first = nil
      @results.each do |results|
        bad = results.select(&:failed?)
        refuse(bad.map(&:error)) if @on_bad_input == :raise && bad.any?
        if @on_bad_input == :skip
          skipped += bad.size
          first ||= bad.first
          results -= bad
        end
        results.each(&)
      end
    ensure
      warn_of(skipped, first) if first
    end

    private

    # With :raise, nothing is predicted in a batch with an input of another kind.
    def predict(batch)
      wrong = batch.select { |entry| entry.error.is_a?(ArgumentError) }
      return wrong.map { |entry| BadInput.new(entry.value, entry.error) } if @on_bad_input == :raise && wrong.any?

      sent = batch.reject(&:error)
      answers = sent.empty? ? [].each : @ask.call(sent.map(&:wire)).each
      batch.map { |entry| entry.error ? BadInput.new(entry.value, entry.error) : result(entry, answers.next, sent) }
    end

    def result(entry, plain, sent)
      return Prediction.parse(plain, entry.wire) unless plain.key?("error")

      message = @batches.recount(plain["error"], sent)
      BadInput.new(entry.value, DataError.new(message, details: plain.slice("path")))
    end

    # With the caller's lines as backtrace.
    def refuse(errors)
      error = errors.grep(ArgumentError).first || (errors.one? ? errors.first : together(errors))
      raise error, error.message, Backtrace.outside_gem, cause: nil
    end

    def together(errors)
      more = errors.size - NAMED
      named = errors.first(NAMED).map(&:message).join("; ")
      of = " of #{@batches.count}" if @batches.count
      DataError.new("#{errors.size}#{of} inputs can't be used: #{named}#{"; and #{more} more" if more.positive?}")
    end

    def warn_of(skipped, first)
      inputs = skipped == 1 ? "1 input" : "#{skipped} inputs"
      Telemetry.event("event" => "warning",
                      "message" => "left out #{inputs} that can't be read, for example #{first.message}")
    end
  end
  private_constant :Predictions
end
