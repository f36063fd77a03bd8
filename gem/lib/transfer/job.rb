# frozen_string_literal: true

module Transfer
  # A running training. `Transfer.start` returns one.
  #
  # @example
  #   job = Transfer.start(backbone: "mobilenet_v2", data: "photos/")
  #   job.on(:epoch) { |epoch| puts epoch.metrics[:accuracy] }
  #   job.progress.fraction  # => 0.4
  #   job.value              # => the model, as soon as it is there
  class Job
    # Seconds that a worker has to answer a cancel before an interrupted caller goes on.
    PATIENCE = 2
    private_constant :PATIENCE

    # @return [Progress] where the training is
    attr_reader :progress

    # @param recipe [Recipe]
    # @param quiet [Boolean, nil] nil: as configured
    def initialize(recipe, quiet: nil)
      @recipe = recipe
      @callbacks = recipe.callbacks.dup
      @progress = Progress.none
      @display = Display.for($stderr, quiet: quiet.nil? ? Transfer.config.quiet : quiet)
    end

    # Trains and waits; blocks are called by the thread that called this. An exception that passes through,
    # whether from a block or a Ctrl-C, cancels the training.
    # @api private
    # @return [Model]
    def run
      Telemetry.call("train") do
        send_recipe
        deliver
        result
      end
    ensure
      withdraw
    end

    # Trains in the background; blocks are called by a thread of the job's own.
    # @api private
    # @return [self]
    def start
      send_recipe
      @thread = Thread.new { deliver_in_background }
      @thread.name = "transfer-job"
      self
    end

    # Calls the block with each event of that name from now on. What the block raises cancels the training and
    # is raised by {#value}.
    # @param event [Symbol] :stage, :progress, :epoch or :warning
    # @return [self]
    def on(event, &block)
      raise ArgumentError, "on(:#{event}) needs a block" unless block
      raise ArgumentError, Event.unknown(event) unless Event.known?(event)

      @callbacks += [[event.to_sym, block]]
      self
    end

    # Asks the training to stop; {#value} then raises {Cancelled}.
    # @return [self]
    def cancel
      @call.cancel
      self
    end

    # @param timeout [Numeric, nil] seconds
    # @return [self, nil] nil if it is still running after that time
    def wait(timeout = nil)
      self if @thread.join(timeout)
    end

    # Waits for the end.
    # @return [Model]
    # @raise [Error] if the training failed or was cancelled
    def value
      wait
      result
    end

    # @return [Boolean]
    def done? = @call.done?

    # @return [Symbol] :running, :done, :failed or :cancelled
    def status
      return :running unless done?

      result
      :done
    rescue Cancelled
      :cancelled
    rescue Exception # rubocop:disable Lint/RescueException -- whatever a user's block raised is a failure, too
      :failed
    end

    def inspect = "#<Transfer::Job #{status}#{", #{progress.title}" if progress.title && !done?}>"

    private

    def send_recipe
      source = Source.new(@recipe.data, columns: @recipe.to_h["columns"])
      plain = @recipe.data.nil? ? @recipe.to_h : { **@recipe.to_h, "data" => source.wire }
      @call = Bridge.start("train", { "recipe" => plain }, streams: source.streams)
    end

    def deliver
      @call.each_event do |plain|
        name, event = Event.parse(plain)
        tell(name, event) if event
      end
    ensure
      @display.finish
    end

    def tell(name, event)
      @progress = progress.after(event)
      @display.show(event, progress)
      Transfer.config.logger&.warn(event.message) if name == :warning
      @callbacks.each { |wanted, block| block.call(event) if wanted == name }
    end

    def deliver_in_background
      Telemetry.call("train") do
        deliver
        @call.value
      end
    rescue Exception => error # rubocop:disable Lint/RescueException -- handed to whoever asks for the value
      @call.abort(error)
      @call.wait
    end

    def result
      @model ||= Model.new(@call.value)
    rescue RecipeError => error
      raise @recipe.explain(error), cause: nil
    end

    def withdraw
      return if @call.nil? || @call.done?

      @call.cancel
      @call.wait(PATIENCE)
    end
  end
end
