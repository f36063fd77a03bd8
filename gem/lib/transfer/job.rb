# frozen_string_literal: true

require_relative "job/request"
require_relative "job/state"
require_relative "value_object"

module Transfer
  # A running training. `Transfer.train_async` returns one.
  #
  # @example
  #   job = Transfer.train_async(backbone: "mobilenet_v2", data: "photos/")
  #   job.on(:epoch) { |epoch| puts epoch.metrics[:accuracy] }
  #   job.progress.share         # => 0.4, of the whole training
  #   job.progress.seconds_left  # => 12.5
  #   job.metrics                # => { loss: 0.41, validation_loss: 0.39, accuracy: 0.91 }, of the last epoch
  #   job.value                  # => the model, after waiting
  class Job
    include ValueObject

    # Seconds that an interrupted caller waits for the worker to cancel.
    PATIENCE = 2
    private_constant :PATIENCE

    # @api private
    # @param words (see Request.resume)
    # @param quiet [Boolean, nil] nil: as configured
    # @return [Job] not yet running
    def self.resume(run, recipe, quiet: nil, trust: false) = new(recipe, Request.resume(run, recipe, trust:), quiet:)

    # @api private
    # @param recipe [Recipe]
    # @param request [Request]
    # @param quiet [Boolean, nil] nil: as configured
    def initialize(recipe, request = Request.new("train", recipe), quiet: nil)
      @recipe = recipe
      @request = request
      @state = State.start(request.run_id)
      @callbacks = recipe.callbacks.dup
      @display = Display.for($stderr, quiet: quiet.nil? ? Transfer.config.quiet : quiet)
    end

    # Trains and waits; blocks are called by the calling thread. An exception, such as one in a block or Ctrl-C, cancels
    # the training.
    # @api private
    # @return [Model]
    def perform
      observed do
        send_request
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
      send_request
      @thread = Thread.new { deliver_in_background }
      @thread.name = "transfer-job"
      self
    end

    # Calls the block with each event of that name from now on. An exception in the block cancels the training and is
    # raised by {#value}.
    # @param event [Symbol] :run, :stage, :progress, :epoch, :overall or :warning
    # @return [self]
    def on(event, &block)
      raise ArgumentError, "on(:#{event}) needs a block" unless block
      raise ArgumentError, Event.unknown(event) unless Event.known?(event)

      @callbacks += [[event.to_sym, block]]
      self
    end

    # @return [Progress] the state of the training
    def progress = @state.progress

    # @return [String, nil] the id with which the training can be resumed; nil until it has begun
    def run_id = @state.run_id

    # @return [Array<Hash{Symbol => Object}>] the epochs so far, as in `model.history`; with those before a
    #   {Transfer.resume}
    def history = @state.history

    # @return [Array<String>] the warnings so far, as in `model.warnings`
    def warnings = @state.warnings

    # Metrics of the last epoch so far.
    # @return [Hash{Symbol => Float}, nil] nil before the first
    def metrics = history.last&.except(:step, :epoch)

    # Stops the training within a second; {#value} then raises {Cancelled}. Its checkpoint is kept for
    # `Transfer.resume(job)`.
    # @return [self]
    def cancel
      @call.cancel
      self
    end

    # @param timeout [Numeric, nil] seconds
    # @return [self, nil] nil if it is still running after that time
    # @raise [Error] inside a block of this job, for which the job waits
    def wait(timeout = nil)
      raise Error, "a block can't wait for its own job: wait where the job was started" if @thread == Thread.current

      self if Executor.permit_reload { @thread.join(timeout) }
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
    rescue Exception # rubocop:disable Lint/RescueException -- an exception of a user's block is a failure, too
      :failed
    end

    # @return [Hash{Symbol => Object}]
    def to_h = { run_id:, status:, progress: progress.to_h, metrics: }.compact

    def inspect = "#<#{self.class} #{[run_id, status, *(progress.title unless done?)].compact.join(', ')}>"

    private

    # The job as one operation for {Telemetry}.
    def observed
      Telemetry.call(@request.method, backbone: @recipe.words["backbone"]) do |payload|
        yield
      ensure
        payload[:run_id] = run_id if run_id
        payload[:model] = @result.path.to_s if @result.is_a?(Model)
      end
    end

    def send_request
      update(Event::Stage.new(:start, "start Python"))
      params, streams = @request.prepare
      @call = Bridge.start(@request.method, params, streams:)
    end

    def deliver
      @call.each_event do |plain|
        name, event = Event.parse(plain)
        handle(name, event) if event
      end
    ensure
      @display.finish
    end

    def handle(name, event)
      update(event)
      Telemetry.epoch(run_id, event) if name == :epoch
      Transfer.config.logger&.warn(event.message) if name == :warning
      @callbacks.each { |wanted, block| Executor.wrap { block.call(event) } if wanted == name }
    end

    def update(event)
      @state = @state.after(event)
      @display.show(event, progress)
    end

    def deliver_in_background
      observed do
        deliver
        result
      end
    rescue Exception => error # rubocop:disable Lint/RescueException -- raised by {#value}
      @call.abort(error)
      @call.wait
    end

    def result
      @result ||= made_of(@call.value)
    rescue RecipeError => error
      raise @recipe.explain(error), cause: nil
    end

    def made_of(plain) = Model.new(plain)

    def withdraw
      return if @call.nil? || @call.done?

      @call.cancel
      @call.wait(PATIENCE)
    end
  end
end
