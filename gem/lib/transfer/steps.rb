# frozen_string_literal: true

require "io/console"

module Transfer
  # Shows named pieces of work one after the other: on a terminal one line that moves while the work goes on,
  # elsewhere a line at the start and one at the end of each.
  class Steps
    # @param out [IO]
    def initialize(out)
      @out = out
      @tty = out.tty?
    end

    # Runs the block and shows how long it took. The block may call what it is given with a note ("12 of 30").
    #
    # @param title [String]
    # @yieldparam tell [Proc]
    # @return what the block returns
    def run(title, &)
      started = now
      @out.puts "#{title} ..." unless @tty
      result = moving(title, started, &)
      finish("done", 32, title, started)
      result
    rescue StandardError, Interrupt
      finish("failed", 31, title, started)
      raise
    end

    private

    # A thread of its own tells how far it is, since the work may be silent for minutes.
    def moving(title, started)
      last = ""
      drawing = Thread.new do
        loop do
          sleep(@tty ? 0.1 : 20)
          line = fit("#{title}  #{seconds(started)}  #{last}")
          @tty ? @out.print("#{ERASE}#{line}") : @out.puts("  #{line}")
        end
      end
      yield(->(note) { last = note })
    ensure
      drawing.kill.join
    end

    def finish(outcome, colour, title, started)
      outcome = "#{ERASE}\e[#{colour}m#{outcome}\e[0m" if @tty
      @out.puts "#{outcome} #{title} (#{seconds(started)})"
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

    def seconds(started) = format("%.0f s", now - started)

    def fit(text)
      width = @tty ? @out.winsize.last : 80
      text[0, (width.zero? ? 80 : width) - 3]
    end

    ERASE = "\r\e[K"
    private_constant :ERASE
  end
  private_constant :Steps
end
