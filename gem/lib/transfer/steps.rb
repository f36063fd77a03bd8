# frozen_string_literal: true

require "io/console"

module Transfer
  # Shows steps of work one after the other: on a terminal one line that is updated, elsewhere a line at the start and
  # one at the end of each step. https://no-color.org is respected.
  class Steps
    # @param out [IO]
    def initialize(out)
      @out = out
      @tty = out.tty?
      @colored = @tty && ENV["NO_COLOR"].to_s.empty?
    end

    # Runs the block and shows its duration.
    #
    # @param title [String]
    # @yieldparam note [Proc] shows a note such as "12 of 30" on the line
    # @return the value of the block
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

    # Updates the line from a thread: the work may print nothing for minutes.
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

    def finish(outcome, color, title, started)
      outcome = "\e[#{color}m#{outcome}\e[0m" if @colored
      @out.puts "#{ERASE if @tty}#{outcome} #{title} (#{seconds(started)})"
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
