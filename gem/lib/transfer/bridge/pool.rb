# frozen_string_literal: true

module Transfer
  module Bridge
    # Two workers, one to train and one to serve, so that a training never delays a prediction. While nothing is
    # trained, the worker that runs does both.
    class Pool
      LONG = %w[train resume].freeze
      # Methods for which a shared worker is not used, as they would delay all others.
      NOT_SHARED = (LONG + %w[evaluate export check audit rank compare_domains map_labels soup]).freeze
      private_constant :LONG, :NOT_SHARED

      # @param result [Hash] of the method `serving`, whose keys are texts on the wire
      # @return [Hash{Symbol => Object}]
      def self.serving_statistics(result)
        serving = Plain.symbolize(result)
        batches = serving[:batches]
        { **serving, batches: { **batches, sizes: batches[:sizes].transform_keys { |size| size.to_s.to_i } } }
      end

      # @return [Worker]
      attr_reader :train, :serve

      # @param shared [#call, nil] returns the {LaunchOptions} of a worker that other processes use, too
      # @yieldreturn [LaunchOptions]
      def initialize(shared: nil, &launch)
        @train = Worker.new(&launch)
        @serve = Worker.new(&(shared || launch))
        @trained = shared ? NOT_SHARED : LONG
        @shared = shared
      end

      # @param options (see Channel#open)
      # @return [Call]
      def call(name, params, **options)
        return train.call(name, params, **options) if @trained.include?(name)

        call_idle_trainer(name, params, **options) || serve.call(name, params, **options)
      end

      def stop = [train, serve].each(&:stop)

      def abandon = [train, serve].each(&:abandon)

      # @return [Hash{Symbol => Hash}] by role
      def stats = { train: train.stats, serve: serve.stats }

      private

      def call_idle_trainer(name, params, **)
        train.call_running(name, params, unless_running: LONG, **) unless @shared || serve.ready?
      end

      # A worker that is started with the first call, and replaced after it has crashed, was stopped, or has reached a
      # limit.
      class Worker
        # Seconds for the statistics of predictions.
        SERVING_TIMEOUT_S = 0.5
        private_constant :SERVING_TIMEOUT_S

        # @yieldreturn [LaunchOptions] evaluated for each start
        def initialize(&launch)
          @launch = launch
          @mutex = Mutex.new
          @backoff = Backoff.new
          @retired = []
          @starts = 0
        end

        # @param options (see Channel#open)
        # @return [Call] sent to a running worker
        # @raise [Cancelled] after {#stop}
        def call(name, params, **options)
          loop do
            channel = connect
            channel.ready!
            call = channel.open(name, params, **options)
            return call if call
          end
        end

        # @return [Call, nil] nil if no worker runs, or if one of the methods `unless_running` is running
        def call_running(name, params, unless_running:, **)
          channel = @mutex.synchronize { @channel }
          return unless channel&.ready?

          channel.ready!
          channel.open(name, params, unless_running:, **)
        end

        def ready? = @channel&.ready? || false

        def pid = @mutex.synchronize { @channel.pid if @channel&.ready? }

        def stop(...)
          channels = @mutex.synchronize do
            @stopped = true
            all.tap do
              @retired = []
              @channel = nil
            end
          end
          channels.each { |channel| channel.stop(...) }
        end

        def abandon = all.each(&:abandon)

        # @return [Hash{Symbol => Object}]
        def stats
          channels, restarts = @mutex.synchronize { [all.select(&:alive?), [@starts - 1, 0].max] }
          processes = channels.map { |channel| { **channel.stats, **serving(channel) } }
          { processes:, restarts:, crashes: @backoff.total }
        end

        private

        def connect
          @mutex.synchronize do
            raise Cancelled, "the worker was shut down" if @stopped
            return @channel if @channel && !@channel.closed?

            # The former channel may still have open calls.
            @retired = all.select(&:alive?)
            @starts += 1
            @channel = Channel.new(@launch.call, @backoff)
          end
        end

        def serving(channel)
          call = channel.open(Dispatcher::SERVING, {}, awaited: true) if channel.supports?(Dispatcher::SERVING)
          call&.wait(SERVING_TIMEOUT_S) ? { serving: Pool.serving_statistics(call.value) } : {}
        rescue Error
          {}
        end

        def all = [*@retired, @channel].compact
      end
    end
  end
end
