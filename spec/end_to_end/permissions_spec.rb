# frozen_string_literal: true

require "fileutils"

RSpec.describe "Permissions of files, with the real core", :end_to_end do
  before(:context) do
    @photos = photo_folder(File.join(@scratch, "photos"), count: 4)
    @model = Transfer.train(backbone: "mobilenet_v2", data: @photos, quiet: true)
  end

  def mode(path) = File.lstat(path).mode & 0o777

  # The worker has the umask with which this process began.
  def with_umask(umask)
    before = File.umask(umask)
    yield
  ensure
    File.umask(before)
  end

  it "follow the umask of this process, not of the worker" do
    { 0o077 => 0o600, 0o002 => 0o664, 0o022 => 0o644 }.each do |umask, expected|
      file = File.join(@scratch, "#{umask}.transfer")
      with_umask(umask) { @model.save(file) }
      expect(mode(file)).to eq(expected)
    end
  end

  it "stay the same for a replaced file" do
    file = File.join(@scratch, "kept.transfer")
    @model.save(file)
    File.chmod(0o640, file)
    with_umask(0) { @model.save(file) }
    expect(mode(file)).to eq(0o640)
  end

  it "are private in the default directory" do
    kept = Dir.glob("#{@scratch}/home/{.,runs,runs/**/*,cache,cache/**/*}")
    expect(kept).to include(@model.path.to_s)
    expect(kept.to_h { |path| [path, mode(path).to_s(8)] }.reject { |path, _| mode(path).nobits?(0o077) }).to eq({})
  end

  it "are those of a new file in place of a link, whose target is unchanged" do
    thesis = File.join(@scratch, "thesis").tap { |path| File.write(path, "300 pages") }
    %w[m.transfer v.npy].each do |name|
      link = File.join(@scratch, name)
      File.symlink(thesis, link)
      if name == "m.transfer" then @model.save(link)
      else
        photo = Dir["#{@photos}/red/*"].first
        expect(transfer("embed", @model.path.to_s, photo, "--output", link, "--force").last).to eq(0)
      end
      expect([File.symlink?(link), File.size(link) > 100]).to eq([false, true])
    end
    expect(File.read(thesis)).to eq("300 pages")
    expect(Dir.children(@scratch).grep(/\.tmp\z/)).to eq([])
  end

  it "cause a warning if others can write the cache" do
    folder = File.join(@scratch, "home/cache")
    File.chmod(0o777, folder)
    heard = []
    Transfer.train(backbone: "mobilenet_v2", data: @photos, quiet: true) do |recipe|
      recipe.on(:warning) { |event| heard << event.message }
    end
    expect(heard).to include(
      "the cache is ignored, so everything is computed again: #{folder} can be written by other users (mode 0777). " \
      "Fix: chmod -R go-w #{folder}"
    )
  ensure
    File.chmod(0o700, folder)
  end
end
