# frozen_string_literal: true

module Transfer
  module CLI
    class Root
      desc "resume RUN", "Resume an interrupted training"
      long_desc <<~TEXT
        Continues after the last checkpoint, with the same weights and metrics as
        without the interruption. RUN is an id of `transfer runs list --resumable`.

          transfer resume 20260314-150926-535897 --save signs.transfer
          transfer resume 20260314-150926-535897 --data /new/place/of/photos

        The data must be unchanged. With --trust, RUN can also be the path of a run's
        directory, from another machine or another user; it may run code.
      TEXT
      shared_options(*OPTIONS["Model file"].keys)
      option :data, banner: "DATA", desc: "Path of the data, if it has moved"
      shared_options :quiet, :trust, :force, :json
      def resume(run)
        train_and_save do |on|
          Transfer.resume(run, quiet: options[:quiet], trust: options[:trust] || false, data: options[:data], on:)
        end
      end
    end
  end
end
