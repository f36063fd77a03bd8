# frozen_string_literal: true

module Transfer
  # Progress of a training: a bar per step on a terminal, elsewhere a line every few seconds.
  module Display
    # @return [#show, #finish] `show` takes each event and the {Progress} after it
    def self.for(io, quiet:)
      return Nothing if quiet

      io.tty? ? Bars.new(io) : Lines.new(io)
    end

    # @return [String, nil] such as `40 %, about 12 s left`
    def self.overall(progress)
      return unless progress.share.positive?

      left = progress.seconds_left && "about #{Amounts.duration(progress.seconds_left)} left"
      ["#{(progress.share * 100).floor} %", left].compact.join(", ")
    end

    # No output.
    module Nothing
      def self.show(_event, _progress); end
      def self.finish; end
    end

    # The first line immediately, then at most one in five seconds.
    class Lines
      EVERY_S = 5

      def initialize(io, clock: -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) })
        @io = io
        @clock = clock
        @last = -EVERY_S
      end

      def show(event, progress)
        return @io.puts("transfer: warning: #{event.message}") if event.is_a?(Event::Warning)
        return if @clock.call - @last < EVERY_S || line(progress) == @shown

        @last = @clock.call
        @io.puts(@shown = line(progress))
      end

      def finish; end

      private

      def line(progress)
        counted = "#{progress.done}/#{progress.total} #{progress.unit}" if progress.total
        counted = "epoch #{progress.epoch}/#{progress.epochs}" if progress.epochs
        "transfer: #{[progress.title || progress.step, counted, *Display.overall(progress)].compact.join(', ')}"
      end
    end

    # A bar per step, with rate and remaining time. Each epoch restarts the bar.
    class Bars
      def initialize(io)
        require "ruby-progressbar"
        @io = io
      end

      def show(event, progress)
        case event
        when Event::Stage then begin_step(event.title)
        when Event::Progress then fill(event.done, event.total, event.unit, progress)
        when Event::Epoch then end_epoch(event, progress)
        when Event::Warning then warn_above(event.message)
        end
      end

      # Leaves the cursor at the start of a line.
      def finish
        if @bar
          @bar.stop
        elsif @title
          @io.puts(@title)
        end
        @bar = @title = nil
      end

      private

      def begin_step(title)
        finish
        @title = title
      end

      def fill(done, total, unit, progress)
        return unless total&.positive?

        @title ||= progress.step.to_s
        @bar ||= ProgressBar.create(
          title: @title, total:, output: @io, autofinish: false, format: "%t |%B| %c/%C #{unit} %R/s, %e"
        )
        @bar.start(at: 0) if done < @bar.progress
        @bar.total = total if @bar.total != total
        @bar.progress = done.clamp(0, total)
      end

      def end_epoch(epoch, progress)
        return fill(epoch.number, epoch.of, "epochs", progress) unless @bar && progress.unit

        @bar.title = "#{@title}, epoch #{epoch.number}/#{epoch.of}"
      end

      def warn_above(message)
        line = "warning: #{message}"
        @bar ? @bar.log(line) : @io.puts(line)
      end
    end
  end
  private_constant :Display
end
